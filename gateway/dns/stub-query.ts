import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import packet, { type DecodedPacket, type RecordType as PacketType } from 'dns-packet';

/** A name server, as an address and a port. */
export interface Server {
  readonly host: string;
  readonly port: number;
}

/** What became of one question at one server. */
export type Exchange =
  | { readonly kind: 'answer'; readonly packet: DecodedPacket }
  | { readonly kind: 'failed'; readonly reason: string };

// RFC 9715 §3.2: what passes every network without fragments; a longer answer says so (TC) and is asked for by TCP.
const udpPayload = 1_232;
// The longest answers in use (hundreds of TXT strings at one name) have some 10 KB; RFC 1035 §4.2.2 would allow 64 KiB.
const maxTcpAnswer = 32 * 1024;

/** `host:port`, `[v6]:port` or an address, as node:dns writes servers. */
export function serverOf(text: string): Server {
  const [, v6, v6Port] = /^\[([^\]]+)\](?::(\d+))?$/.exec(text) ?? [];
  if (v6 !== undefined) return { host: v6, port: Number(v6Port ?? 53) };
  if (isIPv6(text)) return { host: text, port: 53 };
  const [host = '', port = '53'] = text.split(':');
  return { host, port: Number(port) };
}

/**
 * One question to one server (RFC 1035 §4.2): by UDP from a port of its own and under a random id, by TCP when the answer does not fit. Only an answer
 * of that server, to that id and question, counts. Asks for the AD bit (RFC 6840 §5.7). Never throws; ends when the signal aborts.
 */
export async function exchange(server: Server, name: string, type: PacketType, signal: AbortSignal): Promise<Exchange> {
  const id = randomInt(65_536);
  const query = packet.encode({
    type: 'query',
    id,
    flags: packet.RECURSION_DESIRED | packet.AUTHENTIC_DATA,
    questions: [{ name, type, class: 'IN' }],
    additionals: [{ type: 'OPT', name: '.', udpPayloadSize: udpPayload, flags: 0, options: [] } as never],
  });
  const isOurs = ({ id: theirs, type: kind, questions }: DecodedPacket): boolean =>
    kind === 'response' &&
    theirs === id &&
    questions?.length === 1 &&
    questions[0]?.name.toLowerCase() === name &&
    questions[0].type === type;
  const byUdp = await overUdp(server, query, isOurs, signal);
  if (byUdp.kind === 'failed' || !byUdp.packet.flag_tc) return byUdp;
  return await overTcp(server, query, isOurs, signal);
}

type IsOurs = (answer: DecodedPacket) => boolean;

const late: Exchange = { kind: 'failed', reason: 'no answer in time' };
export const unreachable = 'no name server can be reached';
const gone: Exchange = { kind: 'failed', reason: unreachable };
const malformed: Exchange = { kind: 'failed', reason: 'the answer was malformed' };

function decoded(bytes: Buffer): DecodedPacket | undefined {
  try {
    return packet.decode(bytes);
  } catch {
    return undefined;
  }
}

function overUdp({ host, port }: Server, query: Buffer, isOurs: IsOurs, signal: AbortSignal): Promise<Exchange> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
    const end = (outcome: Exchange): void => {
      signal.removeEventListener('abort', expire);
      socket.removeAllListeners('message');
      try {
        socket.close();
      } catch {
        // Closed already.
      }
      resolve(outcome);
    };
    const expire = (): void => end(late);
    if (signal.aborted) return end(late);
    signal.addEventListener('abort', expire);
    // An ICMP "port unreachable" comes as ECONNREFUSED, since the socket is connected.
    socket.on('error', () => end(gone));
    socket.on('message', (bytes) => {
      const answer = decoded(bytes);
      // What is not the answer to this question may be forged: the true one can still come.
      if (answer !== undefined && isOurs(answer)) end({ kind: 'answer', packet: answer });
    });
    socket.connect(port, host, () => socket.send(query));
  });
}

function overTcp({ host, port }: Server, query: Buffer, isOurs: IsOurs, signal: AbortSignal): Promise<Exchange> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const parts: Buffer[] = [];
    let length = 0;
    const end = (outcome: Exchange): void => {
      signal.removeEventListener('abort', expire);
      socket.destroy();
      resolve(outcome);
    };
    const expire = (): void => end(late);
    if (signal.aborted) return end(late);
    signal.addEventListener('abort', expire);
    socket.on('error', () => end(gone));
    socket.on('close', () => end(malformed));
    socket.on('data', (part) => {
      parts.push(part);
      length += part.length;
      if (length < 2) return;
      const all = Buffer.concat(parts);
      const wanted = all.readUInt16BE(0);
      if (wanted > maxTcpAnswer) return end(malformed);
      if (length < wanted + 2) return;
      const answer = decoded(all.subarray(2, wanted + 2));
      end(answer !== undefined && isOurs(answer) ? { kind: 'answer', packet: answer } : malformed);
    });
    const head = Buffer.alloc(2);
    head.writeUInt16BE(query.length);
    socket.write(Buffer.concat([head, query]));
  });
}
