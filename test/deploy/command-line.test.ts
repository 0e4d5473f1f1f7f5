import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { faultAnswer } from '../../deploy/command/fault-answer.ts';
import { type Command, helpOf, readArguments } from '../../deploy/command/line.ts';
import { passphraseFileOf } from '../../deploy/command/options.ts';
import { runProgram } from '../../deploy/command/program.ts';
import { commands } from '../../deploy/command/table.ts';
import { InputFault } from '../../deploy/config/problem.ts';

const command: Command = {
  name: 'do it',
  summary: 'does it',
  positionals: [{ name: 'WHAT', help: 'the thing', check: (text) => (text === 'bad' ? 'something good' : undefined) }],
  options: {
    count: { value: 'N', help: 'how many', check: (text) => (/^[0-9]+$/.test(text) ? undefined : 'a number') },
    json: { help: 'as JSON' },
  },
  run: async () => 0,
};

function problems(args: readonly string[]): string[] {
  try {
    readArguments(command, args);
    return [];
  } catch (fault) {
    if (fault instanceof InputFault)
      return fault.problems.map(
        ({ path, found, expected, suggestion }) => `${path}|${found}|${expected}|${suggestion}`,
      );
    throw fault;
  }
}

async function run(args: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const code = await runProgram(commands, args, { out: (text) => (out += text), err: (text) => (err += text) });
  return { code, out, err };
}

describe('arguments', () => {
  it('are read in any order, with = or without', () => {
    const given = readArguments(command, ['--count=3', 'thing', '--json']);
    expect(given.values).toEqual({ count: '3' });
    expect([...given.switches]).toEqual(['json']);
    expect(given.positionals).toEqual(['thing']);
    expect(readArguments(command, ['thing', '--count', '4']).values).toEqual({ count: '4' });
  });

  it('with mistakes are told all at once', () => {
    expect(problems(['bad', 'extra', '--cuont', '--count', 'x', '--json=1'])).toEqual([
      expect.stringContaining('--cuont|an unknown option|one of --count, --json|did you mean --count?'),
      expect.stringContaining('--count|"x"|a number|'),
      expect.stringContaining('--json|a value|none: it is a switch'),
      expect.stringContaining('WHAT|"bad"|something good'),
      expect.stringContaining('|"extra"|only WHAT'),
    ]);
  });

  it('that are missing are told', () => {
    expect(problems([])).toEqual([expect.stringContaining('WHAT|nothing|the thing')]);
    expect(problems(['thing', '--count'])).toEqual([expect.stringContaining('--count|no value|N')]);
  });

  it('never crash the reader', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string(), fc.constantFrom('--count', '--json', '--', '-', '--count=', '-x')), {
          maxLength: 8,
        }),
        (args) => {
          problems(args);
        },
      ),
    );
  });
});

describe('the program', () => {
  it.each([
    ['an unknown command', ['bogus', '--json']],
    ['a family without its member', ['queue', '--json']],
    ['an unknown option', ['trace', '--bogus', '--json']],
    ['a folder that is no home', ['trace', '--home', '/nonexistent/epost', '--json']],
  ])('with --json it answers in one JSON document: %s', async (_why, args) => {
    const { code, out } = await run(args);
    expect(code).toBe(2);
    expect(JSON.parse(out)).toHaveProperty('error.code');
  });

  it.each([
    ['an unknown command is told with the nearest', ['queue', 'lst'], 2, 'did you mean `epost queue list`?'],
    ['half a command is told with what it can be', ['list', '--home', '/x'], 2, 'see `epost list --help`'],
    ['an id is missed where one is to be verified', ['trace', '--verify', '--message', 'x.eml'], 2, 'an ID with it'],
    ['a message is for --verify alone', ['trace', '1M8CAENGR65BF5BH', '--message', 'x.eml'], 2, '--verify with it'],
    ['a day that is in no calendar is told', ['tls', 'report', '--day', '2026-02-30'], 2, 'a day such as'],
    [
      'a folder that is no home says how to make one',
      ['trace', '--home', '/nonexistent/epost'],
      2,
      'make one with `epost init',
    ],
    [
      'an invitation on the command line is refused, since others can see it',
      ['join', 'epost-invite-1:abc', '--home', '/nonexistent/x'],
      2,
      'other users of this machine',
    ],
    [
      'every mistake in the options of a start is told',
      ['up', '--port-base', '99999', '--dns', 'x', '--domain', '..'],
      2,
      '3 problems',
    ],
  ])('%s', async (_why, args, code, said) => {
    const answer = await run(args);
    expect(answer.code).toBe(code);
    expect(answer.err).toContain(said);
  });

  it('says how to give a pass phrase where one is needed, or where it was wrong', () => {
    for (const code of ['passphrase-needed', 'wrong-passphrase']) {
      const answer = faultAnswer(Object.assign(new Error('locked.'), { code }));
      expect(answer).toMatchObject({ exitCode: 2, text: expect.stringContaining('--passphrase-file') });
    }
  });

  it.each([
    ['the option', { 'passphrase-file': 'a' }, { EPOST_PASSPHRASE_FILE: 'b' }, 'a'],
    ['the environment', {}, { EPOST_PASSPHRASE_FILE: 'b' }, 'b'],
    ['nobody, where the environment has it empty', {}, { EPOST_PASSPHRASE_FILE: '' }, undefined],
  ])('takes the file of the pass phrase from %s', (_why, values, environment, file) => {
    expect(passphraseFileOf(values, environment)).toBe(file);
  });

  it('answers faults as JSON too where JSON is asked for', async () => {
    const answer = await run(['trace', '--home', '/nonexistent/epost', '--json']);
    expect(JSON.parse(answer.out)).toMatchObject({ error: { code: 'not-a-home' } });
  });

  it.each(commands.map((one): [string, Command] => [one.name, one]))(
    'has help for `%s` that names every option',
    async (name, one) => {
      const { code, out } = await run([...name.split(' '), '--help']);
      expect(code).toBe(0);
      expect(out).toBe(helpOf(one));
      for (const option of Object.keys(one.options)) expect(out).toContain(`--${option}`);
      expect(Object.keys(one.options)).toContain('json');
      expect(Object.keys(one.options)).toContain('home');
    },
  );
});
