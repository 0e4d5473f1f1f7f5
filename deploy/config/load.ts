import { readFileSync } from 'node:fs';
import { type Document, isMap, isNode, isPair, LineCounter, parseDocument } from 'yaml';
import type { z } from 'zod';
import { closest } from '../../policy/problem.ts';
import { InputFault, type InputProblem } from './problem.ts';
import { type Config, configSchema } from './schema.ts';

// A configuration is some 80 lines; what is much larger is the wrong file.
const maxBytes = 256 * 1024;

/** Reads and checks a configuration file; an InputFault with every problem, each with line and column. */
export function loadConfig(file: string): Config {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    throw new InputFault([
      {
        file,
        path: '',
        found: `no readable file (${(cause as NodeJS.ErrnoException).code ?? 'error'})`,
        expected: 'a configuration',
        suggestion: 'make a home with `epost init`, or restore the file',
      },
    ]);
  }
  return parseConfig(text, file);
}

/** Checks the text of a configuration; `file` is only named in problems. */
export function parseConfig(text: string, file: string): Config {
  if (Buffer.byteLength(text) > maxBytes) {
    throw new InputFault([
      {
        file,
        path: '',
        found: `${Buffer.byteLength(text)} bytes`,
        expected: `at most ${maxBytes}`,
        suggestion: 'check that this is the right file',
      },
    ]);
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  if (document.errors.length > 0) {
    throw new InputFault(
      document.errors.map((error) => {
        const { line, col } = lines.linePos(error.pos[0]);
        return {
          file,
          line,
          column: col,
          path: '',
          found: error.message.replace(/\s+/g, ' '),
          expected: 'YAML',
          suggestion: 'correct the syntax at this place',
        };
      }),
    );
  }
  const checked = configSchema.safeParse(plainValue(document, file));
  if (checked.success) return checked.data;
  throw new InputFault(checked.error.issues.flatMap((issue) => problemsOf(issue, document, lines, file)));
}

/** The document as plain values. An alias is of no use here, and a few bytes of them can blow up to gigabytes. */
function plainValue(document: Document, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 20 });
  } catch (cause) {
    throw new InputFault([
      {
        file,
        path: '',
        found: `aliases that cannot be used (${(cause as Error).message})`,
        expected: 'plain values',
        suggestion: 'write the values out',
      },
    ]);
  }
}

function problemsOf(issue: z.core.$ZodIssue, document: Document, lines: LineCounter, file: string): InputProblem[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const known = keysAt(issue.path);
      const near = closest(key, known);
      return {
        ...placeOf([...issue.path, key], document, lines, file),
        found: `the unknown key ${JSON.stringify(key)}`,
        expected: `one of ${known.join(', ')}`,
        suggestion: near === undefined ? 'remove it' : `did you mean ${near}?`,
      };
    });
  }
  const value = document.getIn(issue.path);
  const missing = value === undefined;
  return [
    {
      ...placeOf(issue.path, document, lines, file),
      found: missing ? 'nothing' : JSON.stringify(isNode(value) ? value.toJSON() : value).slice(0, 80),
      expected: expectedOf(issue),
      suggestion: missing ? 'add it' : 'correct it',
    },
  ];
}

function expectedOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return issue.expected;
    case 'invalid_value':
      return issue.values.map((value) => JSON.stringify(value)).join(' or ');
    case 'too_small':
      return `at least ${String(issue.minimum)}`;
    case 'too_big':
      return `at most ${String(issue.maximum)}`;
    default:
      return issue.message.replace(/^expected /, '');
  }
}

/** The keys that the schema knows at a path, for suggestions. */
function keysAt(path: readonly PropertyKey[]): string[] {
  let schema: unknown = configSchema;
  for (const key of path) schema = unwrap(schema)?.shape?.[String(key)];
  return Object.keys(unwrap(schema)?.shape ?? {});
}

type ObjectSchema = {
  readonly shape?: Readonly<Record<string, unknown>>;
  readonly def?: { readonly innerType?: unknown };
};

function unwrap(schema: unknown): ObjectSchema | undefined {
  let found = schema as ObjectSchema | undefined;
  while (found !== undefined && found.shape === undefined && found.def?.innerType !== undefined)
    found = found.def.innerType as ObjectSchema;
  return found;
}

/** Where a path stands in the file: its key, or the nearest thing above it that is there. */
function placeOf(
  path: readonly PropertyKey[],
  document: Document,
  lines: LineCounter,
  file: string,
): Pick<InputProblem, 'file' | 'line' | 'column' | 'path'> {
  const whole = path.map(String).join('.');
  for (let length = path.length; length > 0; length -= 1) {
    const parent = document.getIn(path.slice(0, length - 1), true);
    const last = path[length - 1];
    const container = length === 1 ? document.contents : parent;
    const pair = isMap(container)
      ? container.items.find((item) => isPair(item) && String(item.key) === String(last))
      : undefined;
    const node = pair === undefined ? document.getIn(path.slice(0, length), true) : pair.key;
    if (isNode(node) && node.range) {
      const { line, col } = lines.linePos(node.range[0]);
      return { file, line, column: col, path: whole };
    }
  }
  return { file, line: 1, column: 1, path: whole };
}
