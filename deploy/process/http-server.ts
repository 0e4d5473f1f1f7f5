import http from 'node:http';
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { Listener } from '../config/schema.ts';
import type { TraceEvent } from '../trace/store.ts';

/** What one part says of itself; not ready means: keep mail away from here. */
export interface PartHealth {
  readonly part: string;
  readonly ok: boolean;
  readonly why?: string | undefined;
}

export interface HttpOptions {
  readonly listen: Listener;
  readonly health: () => Promise<readonly PartHealth[]>;
  /** Numbers that are read when somebody asks: name, help, value by label value. */
  readonly gauges: readonly {
    readonly name: string;
    readonly help: string;
    readonly label: string;
    readonly read: () => Promise<Readonly<Record<string, number>>>;
  }[];
}

export interface HttpServer {
  readonly address: string;
  /** Counts one event of a message's timeline. */
  count(event: TraceEvent): void;
  stop(): Promise<void>;
}

// Labels come from our own code, but one value too many must not become memory without end.
const maxLabelLength = 40;

/** Serves /healthz (alive), /readyz (fit to take mail) and /metrics (Prometheus text format) with GET and HEAD, nothing else. */
export async function startHttp(options: HttpOptions): Promise<HttpServer> {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'epost_' });
  const events = new Counter({
    name: 'epost_events_total',
    help: 'events in the timelines of messages',
    labelNames: ['what', 'outcome'],
    registers: [registry],
  });
  for (const { name, help, label, read } of options.gauges) {
    const gauge: Gauge = new Gauge({
      name,
      help,
      labelNames: [label],
      registers: [registry],
      async collect() {
        gauge.reset();
        for (const [value, count] of Object.entries(await read().catch(() => ({}))))
          gauge.set({ [label]: value }, count);
      },
    });
  }
  const answer = async (request: http.IncomingMessage): Promise<{ status: number; type: string; body: string }> => {
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return { status: 405, type: 'text/plain', body: 'GET or HEAD only\n' };
    switch (request.url?.split('?', 1)[0]) {
      case '/healthz':
        return { status: 200, type: 'text/plain', body: 'alive\n' };
      case '/readyz': {
        const parts = await options.health();
        return {
          status: parts.every(({ ok }) => ok) ? 200 : 503,
          type: 'application/json',
          body: `${JSON.stringify({ ready: parts.every(({ ok }) => ok), parts })}\n`,
        };
      }
      case '/metrics':
        return { status: 200, type: registry.contentType, body: await registry.metrics() };
      default:
        return { status: 404, type: 'text/plain', body: 'here are /healthz, /readyz and /metrics\n' };
    }
  };
  const server = http.createServer(
    { maxHeaderSize: 8_192, requestTimeout: 10_000, headersTimeout: 5_000, keepAliveTimeout: 5_000 },
    (request, response) => {
      request.resume();
      answer(request)
        .catch((fault: unknown) => ({ status: 500, type: 'text/plain', body: `${String(fault)}\n` }))
        .then(({ status, type, body }) =>
          response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(body),
        )
        .catch(() => response.destroy());
    },
  );
  server.maxConnections = 64;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen(options.listen.port, options.listen.host, resolve);
  await promise;
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : options.listen.port;
  return {
    address: `${options.listen.host.includes(':') ? `[${options.listen.host}]` : options.listen.host}:${port}`,
    count: (event) => {
      const outcome = event['verdict'] ?? event['outcome'] ?? '';
      events.inc({
        what: event.what.slice(0, maxLabelLength),
        outcome: typeof outcome === 'string' ? outcome.slice(0, maxLabelLength) : '',
      });
    },
    stop: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}
