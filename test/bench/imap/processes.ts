import { readdirSync, readFileSync } from 'node:fs';

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    // It has ended meanwhile.
    return '';
  }
}

/** The process and all that descend from it. */
function family(pid: number): readonly number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    // proc(5): the name in brackets may hold anything; the parent is the second word behind it.
    const parent = Number(/\) \S (\d+)/.exec(read(`/proc/${name}/stat`))?.[1]);
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const found = [pid];
  for (const one of found) found.push(...(children.get(one) ?? []));
  return found;
}

/** What the processes that live now have had of the processors, in ms; exact to the nanosecond, other than ticks. */
export function cpuMs(pid: number): number {
  let ns = 0;
  for (const one of family(pid)) {
    let threads: string[] = [];
    try {
      threads = readdirSync(`/proc/${one}/task`);
    } catch {
      continue;
    }
    for (const thread of threads) ns += Number(read(`/proc/${one}/task/${thread}/schedstat`).split(' ')[0] ?? 0);
  }
  return ns / 1e6;
}

/** Memory of a process and all that descend from it, in MiB: what they share counts once (proportional set size), and of that what no file backs. */
export function memoryMiB(pid: number): { readonly pss: number; readonly anonymous: number } {
  let [pss, anonymous] = [0, 0];
  for (const one of family(pid)) {
    const rollup = read(`/proc/${one}/smaps_rollup`);
    pss += Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
    anonymous += Number(/^Pss_Anon:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
  }
  return { pss: pss / 1024, anonymous: anonymous / 1024 };
}
