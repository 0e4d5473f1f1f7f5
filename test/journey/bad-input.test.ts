import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestHome } from './fixtures/home.ts';
import { runEpost } from './fixtures/program.ts';

let home: TestHome;
let config: string;
let policy: string;

beforeAll(async () => {
  home = await TestHome.make();
  expect((await home.run('init', '--json')).code).toBe(0);
  config = await readFile(path.join(home.folder, 'epost.yaml'), 'utf8');
  policy = await readFile(path.join(home.folder, 'policy.yaml'), 'utf8');
});

afterAll(() => home.remove());

/** The lines that tell of a problem: place, what was found, what was expected. */
function problems(standardError: string): string[] {
  return standardError.split('\n').filter((line) => / found .* expected /.test(line));
}

describe('the command line', () => {
  const lines: [why: string, args: string[], told: RegExp[]][] = [
    [
      'every wrong option at once',
      ['up', '--port-base', 'many', '--dns', 'nowhere', '--mx-port', '0', '--smarthost', '::', '--jsno'],
      [
        /--port-base: found "many"/,
        /--dns: found "nowhere"/,
        /--mx-port: found "0"/,
        /--smarthost: found "::"/,
        /--jsno: found an unknown option.*--json/,
      ],
    ],
    ['a domain that is none', ['init', '--domain', 'not a domain'], [/--domain: found "not a domain"/]],
    ['an option without its value', ['up', '--home'], [/--home: found no value/]],
    ['a word too many', ['up', 'now'], [/found "now"/]],
    ['a missing word', ['user', 'add'], [/ADDRESS: found nothing/]],
    ['an address that is none', ['user', 'add', 'alice@'], [/ADDRESS: found "alice@"/]],
    ['a trace id that is none', ['trace', 'x'], [/ID: found "x"/]],
    ['a command that is none', ['uup'], [/found the unknown command "uup".*did you mean `epost up`/]],
  ];
  test.each(lines)('%s is told with what was expected, and exit code 2', async (_, args, told) => {
    const { code, err, out } = await runEpost(args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(problems(err)).toEqual(told.map((one) => expect.stringMatching(one)));
  });

  test('with --json the same problems come as JSON', async () => {
    const { code, out } = await runEpost(['up', '--json', '--port-base', 'many', '--mx-port', '0']);
    expect(code).toBe(2);
    expect(JSON.parse(out)).toMatchObject({
      error: {
        problems: [
          { path: '--port-base', found: '"many"' },
          { path: '--mx-port', found: '"0"' },
        ],
      },
    });
  });

  test('a folder that is no home is said in one sentence', async () => {
    const { code, err } = await runEpost(['user', 'list', '--home', path.dirname(home.folder)]);
    expect(code).toBe(2);
    expect(err).toMatch(/^epost: .* is not an ePOST home; make one with `epost init .*\n$/);
  });
});

describe('epost.yaml', () => {
  test('every mistake is told with file, line, found and expected; nothing starts', async () => {
    const file = path.join(home.folder, 'epost.yaml');
    await writeFile(
      file,
      config
        .replace(/^hostname: .*$/m, 'hostname: "not a name"')
        .replace(/mx: \{host: 127.0.0.1, port: \d+\}/, 'mx: {host: 127.0.0.1, port: 99999}')
        .replace('first: 60s', 'first: soon')
        .replace('log: {level: info}', 'log: {levle: info}'),
    );
    const lineOf = (text: string, found: string): number =>
      text.split('\n').findIndex((line) => line.includes(found)) + 1;
    const broken = await readFile(file, 'utf8');
    for (const command of [['up', '--json'], ['check'], ['queue', 'list']]) {
      const { code, err } = await home.run(...command);
      expect({ command, code }).toEqual({ command, code: 2 });
      expect(problems(err)).toEqual(
        [
          [lineOf(broken, 'hostname:'), /hostname: found/],
          [lineOf(broken, 'port: 99999'), /gateway\.mx\.port: found 99999/],
          [lineOf(broken, 'first: soon'), /gateway\.delivery\.retry\.first: found "soon"/],
          [lineOf(broken, 'levle'), /log.*levle.*level/],
        ]
          .map(([line, told]) => new RegExp(`^.*epost\\.yaml:${String(line)}:\\d+: .*${(told as RegExp).source}`))
          .map((one) => expect.stringMatching(one)),
      );
    }
    await writeFile(file, config);
  });

  test('what is no YAML is told with its line', async () => {
    await writeFile(path.join(home.folder, 'epost.yaml'), `${config}\n  : [\n`);
    const { code, err } = await home.run('up', '--json');
    await writeFile(path.join(home.folder, 'epost.yaml'), config);
    expect(code).toBe(2);
    expect(err).toMatch(/epost\.yaml:\d+:\d+: /);
  });
});

describe('policy.yaml', () => {
  test('every mistake is told with file and line; nothing starts', async () => {
    const file = path.join(home.folder, 'policy.yaml');
    const rule = ['  - id: a', '    when: autor.kind != "single"', '    do: reject'];
    await writeFile(file, ['version: 1', 'rules:', ...rule, 'default: acept', ''].join('\n'));
    for (const command of [['up', '--json'], ['check'], ['policy', 'check']]) {
      const { code, err } = await home.run(...command);
      expect({ command, code }).toEqual({ command, code: 2 });
      expect(err).toMatch(/policy\.yaml:4:\d+: .*autor/);
      expect(err).toMatch(/policy\.yaml:6:\d+: .*acept/);
    }
    await writeFile(file, policy);
    expect((await home.run('check')).code).toBe(0);
  });
});
