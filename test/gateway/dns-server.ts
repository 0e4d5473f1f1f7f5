import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import packet, { type Answer } from 'dns-packet';

export type ZoneType = 'A' | 'AAAA' | 'MX' | 'TXT' | 'PTR' | 'CNAME' | 'TLSA' | 'SOA';

/** What a test publishes: name -> type -> data as dns-packet takes it (TXT: one string, or its character-strings). */
export type Zone = Readonly<Record<string, Readonly<Partial<Record<ZoneType, readonly unknown[]>>> | Misbehaviour>>;

/** How a name misbehaves: `silent` never answers, the others answer with that code. */
export type Misbehaviour = 'silent' | 'servfail' | 'refused';

const rcodes = { noerror: 0, servfail: 2, nxdomain: 3, refused: 5 } as const;
const ttlSeconds = 60;

/** A real name server on 127.0.0.1, UDP and TCP on one port, authoritative for everything in `zone`. */
export interface DnsServer {
  /** `127.0.0.1:port`, for createResolver's `servers`. */
  readonly address: string;
  readonly port: number;
  /** Every question asked, as `TXT example.net`, in order. */
  readonly asked: readonly string[];
  /** Replaces what is published. */
  publish(zone: Zone): void;
  /** Adds to what is published. */
  add(zone: Zone): void;
  close(): Promise<void>;
}

/** The reply to one query, or undefined for silence. CNAMEs are followed within the zone. */
function reply(zone: ReadonlyMap<string, Zone[string]>, query: Buffer, asked: string[]): Buffer | undefined {
  const message = packet.decode(query);
  const question = message.questions?.[0];
  if (question === undefined) return undefined;
  const name = question.name.toLowerCase();
  asked.push(`${question.type} ${name}`);
  const answers: Answer[] = [];
  const outcome = collect(zone, name, question.type as ZoneType, answers, 0);
  if (outcome === 'silent') return undefined;
  return packet.encode({
    type: 'response',
    id: message.id ?? 0,
    // 0x0400 is AA, 0x0080 is RA; the low bits are the response code (RFC 1035 §4.1.1).
    flags: 0x0480 | rcodes[outcome] | ((message.flags ?? 0) & 0x0100),
    questions: [question],
    answers,
  });
}

function collect(
  zone: ReadonlyMap<string, Zone[string]>,
  name: string,
  type: ZoneType,
  answers: Answer[],
  depth: number,
): Misbehaviour | 'noerror' | 'nxdomain' {
  const entry = zone.get(name);
  if (typeof entry === 'string') return entry;
  if (entry === undefined) {
    // A name with names below it exists without records (RFC 8020): NODATA, not NXDOMAIN.
    return [...zone.keys()].some((other) => other.endsWith(`.${name}`)) ? 'noerror' : 'nxdomain';
  }
  const records = entry[type] ?? [];
  for (const data of records) answers.push({ name, type, class: 'IN', ttl: ttlSeconds, data } as Answer);
  const alias = entry.CNAME?.[0];
  if (records.length > 0 || typeof alias !== 'string' || type === 'CNAME' || depth > 8) return 'noerror';
  answers.push({ name, type: 'CNAME', class: 'IN', ttl: ttlSeconds, data: alias });
  return collect(zone, alias.toLowerCase(), type, answers, depth + 1);
}

function truncated(answer: Buffer): Buffer {
  const { id, questions } = packet.decode(answer);
  return packet.encode({ type: 'response', id: id ?? 0, flags: packet.TRUNCATED_RESPONSE, questions: questions ?? [] });
}

async function listen(
  reply: (query: Buffer) => Buffer | undefined,
): Promise<{ udp: Socket; tcp: Server; port: number }> {
  const tcp = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    let kept = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      kept = Buffer.concat([kept, chunk]);
      while (kept.length >= 2 && kept.length >= 2 + kept.readUInt16BE(0)) {
        const answer = reply(kept.subarray(2, 2 + kept.readUInt16BE(0)));
        kept = kept.subarray(2 + kept.readUInt16BE(0));
        if (answer === undefined) continue;
        const length = Buffer.alloc(2);
        length.writeUInt16BE(answer.length);
        socket.write(Buffer.concat([length, answer]));
      }
    });
  });
  tcp.listen(0, '127.0.0.1');
  await once(tcp, 'listening');
  const { port } = tcp.address() as { port: number };
  const udp = createSocket('udp4');
  udp.on('message', (query, from) => {
    const answer = reply(query);
    if (answer === undefined) return;
    // 1232 octets is what resolvers announce today; longer answers say TC and are asked for again over TCP.
    udp.send(answer.length <= 1232 ? answer : truncated(answer), from.port, from.address);
  });
  udp.bind(port, '127.0.0.1');
  await once(udp, 'listening');
  return { udp, tcp, port };
}

export async function startDnsServer(published: Zone = {}): Promise<DnsServer> {
  const zone = new Map<string, Zone[string]>();
  const asked: string[] = [];
  const add = (more: Zone): void => {
    for (const [name, entry] of Object.entries(more)) zone.set(name.toLowerCase(), entry);
  };
  add(published);
  const { udp, tcp, port } = await listen((query) => reply(zone, query, asked));
  return {
    address: `127.0.0.1:${port}`,
    port,
    asked,
    publish: (next) => {
      zone.clear();
      add(next);
    },
    add,
    close: async () => {
      udp.close();
      tcp.close();
      await once(tcp, 'close');
    },
  };
}
