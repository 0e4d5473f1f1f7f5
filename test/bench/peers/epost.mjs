// Ours beside other mail servers, for a harness that starts peers and measures them (README of test/bench): two peers, the gateway alone and all of `epost up`.
// A peer listens on 127.0.0.1:port, is started in a group g whose CPU and memory are counted, and says how much of what it took is not done yet.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

const here = (file) => new URL(file, import.meta.url).pathname;
const node = here('../../../node_modules/.bin/node');
const epost = here('../../../deploy/epost.mjs');
const port = 2700;
const domain = 'rcpt.test';
// Where the clients of the checks come from: one address sends all, so it is not counted like a stranger's.
const client = '93.184.216.34';

export default ({ RUN, DATA, SINK, waitPort }) => {
  const folder = `${RUN}/epost`;
  const log = { log: `${RUN}/log/epost.log` };
  const last = `${folder}/last.eml`;

  const alone = (checks) => ({
    id: 'epost-gateway',
    label: `ePOST, the gateway alone${checks ? '' : ', checks left out'}`,
    port,
    proxy: checks ? 'v1' : '',
    async start(g) {
      mkdirSync(folder, { recursive: true });
      rmSync(last, { force: true });
      const threads = process.env.EPOST_THREADS ?? '1';
      const profile = process.env.EPOST_PROFILE ? ['--cpu-prof', `--cpu-prof-dir=${process.env.EPOST_PROFILE}`] : [];
      const what = [String(port), domain, checks ? 'checks' : 'none', threads, last];
      // The flag that deploy/process/supervisor.ts gives the gateway.
      g.spawn(
        ['env', 'MALLOC_ARENA_MAX=2', node, '--max-semi-space-size=32', ...profile, here('gateway-alone.ts'), ...what],
        log,
      );
      await waitPort(port);
    },
    drained: () => 0,
    stored: () => null,
    sample: () => text(last),
    clear() {},
    async stop() {},
  });

  const whole = {
    id: 'epost-up',
    label: 'ePOST, all of `epost up`, a ring of one, with checks',
    port,
    proxy: 'v1',
    async start(g) {
      rmSync(folder, { recursive: true, force: true });
      const flags = ['--home', folder, '--port-base', String(port - 2525)];
      const names = ['--domain', domain, '--hostname', 'mx.test', '--users', 'bob'];
      execFileSync(node, [epost, 'init', ...flags, ...names]);
      const file = `${folder}/epost.yaml`;
      const exempt = `  exempt: [127.0.0.0/8, ${client}]`;
      const trusting = readFileSync(file, 'utf8').replace(/^ {2}exempt:.*$/m, exempt);
      writeFileSync(file, trusting.replace(/^ {2}proxies:.*$/m, '  proxies: [127.0.0.1]'));
      g.spawn([node, epost, 'up', '--home', folder], log);
      await waitPort(port, 60_000);
    },
    /** Jobs that wait or run, by the metrics. */
    drained() {
      const metrics = execFileSync('curl', ['-s', `http://127.0.0.1:${8025 + port - 2525}/metrics`]).toString();
      const waits = metrics.matchAll(/^epost_queue_jobs\{[^}]*state="(?:due|running)"[^}]*\} (\d+)/gm);
      return [...waits].reduce((sum, [, count]) => sum + Number(count), 0);
    },
    stored: () => null,
    sample: () => '',
    clear() {},
    async stop() {},
  };

  /** Its own way out, `held`: first all is queued, then let go. */
  const outward = (held) => ({
    id: held ? 'held-epost' : 'out-epost',
    label: 'ePOST, the gateway’s way out alone, two DKIM signatures',
    port,
    proxy: '',
    async start(g) {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { recursive: true });
      if (held) writeFileSync(`${folder}/hold`, '');
      const profile = process.env.EPOST_PROFILE ? ['--cpu-prof', `--cpu-prof-dir=${process.env.EPOST_PROFILE}`] : [];
      const what = [String(port), 'org.test', `${DATA}/org.pem`, 'sel', String(SINK), folder];
      g.spawn([node, ...profile, here('relay-alone.ts'), ...what], log);
      await waitPort(port);
    },
    release: async () => rmSync(`${folder}/hold`),
    drained: () => Number(text(`${folder}/waiting`)),
    stored: () => null,
    sample: () => '',
    clear() {},
    async stop() {},
  });

  // `epost up` always checks; its clients name themselves by PROXY in both.
  return { a: [alone(false)], b: [alone(true), whole], out: [outward(false)], held: [outward(true)] };
};

function text(file) {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
