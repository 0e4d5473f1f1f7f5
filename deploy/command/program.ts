import { closest } from '../../policy/problem.ts';
import { InputFault, type InputProblem } from '../config/problem.ts';
import { faultAnswer } from './fault-answer.ts';
import { type Command, exitCodes, helpOf, readArguments } from './line.ts';

export interface Screen {
  out(text: string): unknown;
  err(text: string): unknown;
}

/** Finds the command that the words name, runs it, and turns whatever it throws into a sentence and an exit code. */
export async function runProgram(
  commands: readonly Command[],
  args: readonly string[],
  screen: Screen,
): Promise<number> {
  const command = findCommand(commands, args);
  if (command === undefined) return answerNoCommand(commands, args, screen);
  const rest = args.slice(command.name.split(' ').length);
  if (rest.includes('--help') || rest.includes('-h')) {
    screen.out(helpOf(command));
    return exitCodes.done;
  }
  const asJson = rest.includes('--json');
  try {
    return await command.run(readArguments(command, rest));
  } catch (fault) {
    const answer = faultAnswer(fault);
    if (asJson) screen.out(`${JSON.stringify({ error: answer.json })}\n`);
    screen.err(answer.text);
    return answer.exitCode;
  }
}

/** The command with the most words that the arguments begin with. */
function findCommand(commands: readonly Command[], args: readonly string[]): Command | undefined {
  return commands
    .filter(({ name }) => name.split(' ').every((word, index) => args[index] === word))
    .sort((a, b) => b.name.split(' ').length - a.name.split(' ').length)
    .at(0);
}

function answerNoCommand(commands: readonly Command[], args: readonly string[], screen: Screen): number {
  const [first, second] = args;
  if (first === undefined || first === '--help' || first === '-h' || first === 'help') {
    screen.out(overview(commands));
    return exitCodes.done;
  }
  const family = commands.filter(({ name }) => name.startsWith(`${first} `));
  if (family.length > 0 && (second === undefined || second === '--help' || second === '-h')) {
    screen.out(overview(family));
    return second === undefined ? exitCodes.badInput : exitCodes.done;
  }
  const fault =
    family.length > 0 && second?.startsWith('-') === true ? halfCommand(first, family) : unknownCommand(commands, args);
  const answer = faultAnswer(new InputFault([fault]));
  if (args.includes('--json')) screen.out(`${JSON.stringify({ error: answer.json })}\n`);
  screen.err(answer.text);
  return answer.exitCode;
}

/** `list --home …`: the first word of several commands, and an option where the second should be. */
function halfCommand(first: string, family: readonly Command[]): InputProblem {
  return {
    file: 'command line',
    path: '',
    found: `half a command, ${JSON.stringify(first)}`,
    expected: `one of ${family.map(({ name }) => `\`${name}\``).join(', ')}`,
    suggestion: `see \`epost ${first} --help\``,
  };
}

function unknownCommand(commands: readonly Command[], [first = '', second = '']: readonly string[]): InputProblem {
  const written = commands.some(({ name }) => name.startsWith(`${first} `)) ? `${first} ${second}` : first;
  const near = closest(
    written,
    commands.map(({ name }) => name),
  );
  return {
    file: 'command line',
    path: '',
    found: `the unknown command ${JSON.stringify(written)}`,
    expected: 'a command of `epost --help`',
    suggestion: near === undefined ? 'see `epost --help`' : `did you mean \`epost ${near}\`?`,
  };
}

function overview(commands: readonly Command[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length)) + 2;
  return [
    'usage: epost COMMAND [options]',
    '',
    ...commands.map(({ name, summary }) => `  ${name.padEnd(width)}${summary}`),
    '',
    '`epost COMMAND --help` tells more.',
    '',
  ].join('\n');
}
