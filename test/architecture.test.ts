import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

// The floors of node/, lowest first: each stands on the ones before it (DESIGN §3).
const floors = ['identity', 'overlay', 'store', 'log', 'notify', 'post', 'mail', 'access', 'door'];
const tops = ['policy', 'queue', 'node', 'gateway', 'deploy'];

/** Which folder of ours may import which (itself always). */
function mayImport(from: string, to: string): boolean {
  const [fromTop = '', fromFloor = ''] = from.split('/');
  const [toTop = '', toFloor = ''] = to.split('/');
  if (fromTop === toTop && fromTop !== 'node') return true;
  switch (fromTop) {
    case 'policy':
    case 'queue':
      return false;
    case 'node':
      if (toTop === 'policy') return true;
      if (toTop !== 'node') return false;
      // node/access speaks to user programs, node/door to gateways: neither knows the other.
      if (fromFloor === 'door' && toFloor === 'access') return false;
      return floors.indexOf(toFloor) <= floors.indexOf(fromFloor);
    case 'gateway':
      return toTop === 'policy' || toTop === 'queue' || to === 'node/door';
    case 'deploy':
      return true;
    default:
      return false;
  }
}

type Import = { readonly file: string; readonly target: string; readonly line: number };

function sources(folder: string): string[] {
  return readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => path.posix.join(folder, name.split(path.sep).join('/')));
}

const importOf =
  /(?:^|\n)\s*(?:import|export)\b[^;'"]*?from\s*['"](\.[^'"]+)['"]|\bimport\(\s*['"](\.[^'"]+)['"]\s*\)|new URL\(\s*['"](\.[^'"]+\.ts)['"]/g;

function imports(file: string): Import[] {
  const text = readFileSync(path.join(root, file), 'utf8');
  return [...text.matchAll(importOf)].map((match) => ({
    file,
    target: path.posix.join(path.posix.dirname(file), match[1] ?? match[2] ?? match[3] ?? ''),
    line: text.slice(0, match.index).split('\n').length + 1,
  }));
}

function folderOf(file: string): string {
  const parts = file.split('/');
  return parts[0] === 'node' && parts.length > 2 ? `node/${parts[1]}` : (parts[0] ?? '');
}

const files = tops.flatMap(sources);
const all = files.flatMap(imports);

describe('the arrows of DESIGN §3', () => {
  it('finds the sources and their imports, so that the tests below cannot pass by seeing nothing', () => {
    expect(files.length).toBeGreaterThan(50);
    expect(all.length).toBeGreaterThan(100);
    expect(files.filter((file) => file.startsWith('node/')).map(folderOf)).not.toContain('node');
    expect([...new Set(files.filter((file) => file.startsWith('node/')).map(folderOf))].sort()).toEqual(
      floors.map((floor) => `node/${floor}`).sort(),
    );
  });

  it('each folder imports only what stands below it', () => {
    const wrong = all
      .filter(({ file, target }) => !mayImport(folderOf(file), folderOf(target)))
      .map(({ file, line, target }) => `${file}:${line} imports ${target}`);
    expect(wrong).toEqual([]);
  });

  it('nothing of the product imports tests', () => {
    expect(all.filter(({ target }) => target.startsWith('test/'))).toEqual([]);
  });

  it('there is no import cycle', () => {
    const graph = new Map<string, string[]>(files.map((file) => [file, []]));
    for (const { file, target } of all) graph.get(file)?.push(target);
    const done = new Set<string>();
    const cycles: string[] = [];
    const visit = (file: string, trail: readonly string[]): void => {
      if (trail.includes(file)) cycles.push([...trail.slice(trail.indexOf(file)), file].join(' -> '));
      if (done.has(file) || trail.includes(file)) return;
      for (const next of graph.get(file) ?? []) visit(next, [...trail, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it('there is no barrel: no file only hands on what others define', () => {
    const barrels = files.filter((file) => {
      const code = readFileSync(path.join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
      const statements = code
        .split(';')
        .map((part) => part.trim())
        .filter((part) => part !== '');
      return statements.length > 0 && statements.every((part) => /^export\s[\s\S]*\sfrom\s/.test(part));
    });
    expect(barrels).toEqual([]);
  });

  it('policy and queue name no folder of ours, and policy does no input or output', () => {
    const io =
      /from\s+['"](?:node:)?(?:fs|net|tls|dgram|dns|http|https|child_process|worker_threads|timers)(?:\/[^'"]*)?['"]/;
    expect(sources('policy').filter((file) => io.test(readFileSync(path.join(root, file), 'utf8')))).toEqual([]);
  });

  it('a folder has its README', () => {
    const folders = [...tops, ...floors.map((floor) => `node/${floor}`)];
    expect(folders.filter((folder) => !readdirSync(path.join(root, folder)).includes('README.md'))).toEqual([]);
  });
});
