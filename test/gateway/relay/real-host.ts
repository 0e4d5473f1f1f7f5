/**
 * Postfix, Exim and OpenSMTPD as destinations. Each runs in a mount namespace of its own, where its users, its spool and its configuration are; nothing of the machine
 * changes, and programs that were only unpacked run as if they were installed.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import selfsigned from 'selfsigned';
import { program } from '../../needs.ts';

export const realHosts = ['postfix', 'exim4', 'smtpd'] as const;
export type RealHostName = (typeof realHosts)[number];

/** What a message may have there, in octets. */
export const realHostLimit = 100_000;

export interface RealHost {
  readonly port: number;
  /** What lies in the mailbox of a@dest.example (and all others) now. */
  inbox(): Promise<Buffer[]>;
  /** What it said on its own output so far, for whoever looks for the reason of a failure. */
  said(): string;
  stop(): Promise<void>;
}

interface Setting {
  readonly dir: string;
  readonly port: number;
  readonly program: string;
}

const domain = 'dest.example';
/** Any that nobody has. */
const uid = 9_411;

/** Commands that make the namespace, run as root in it; the last replaces the shell. */
const starts: Readonly<Record<RealHostName, (setting: Setting) => readonly string[]>> = {
  exim4: ({ dir, program: exim }) => [`exec ${exim} -C ${dir}/exim.conf -bdf -q1h`],
  smtpd: ({ dir, program: smtpd }) => [
    'mount -t tmpfs tmpfs /var/lib && mkdir -p /var/lib/opensmtpd/empty',
    'mount -t tmpfs tmpfs /var/spool && mkdir -m 711 /var/spool/smtpd',
    'mount -t tmpfs tmpfs /run',
    'mount -t tmpfs tmpfs /usr/libexec',
    `cp -r ${join(dirname(smtpd), '../libexec/opensmtpd')} /usr/libexec/`,
    `PATH=${dirname(smtpd)}:$PATH exec ${smtpd} -d -f ${dir}/smtpd.conf`,
  ],
  postfix: ({ dir, program: postfix }) => [
    `mount --bind ${dir}/postfix /etc/postfix`,
    'mount -t tmpfs tmpfs /var/spool && mkdir /var/spool/postfix',
    'mount -t tmpfs tmpfs /var/lib/postfix && chown postfix /var/lib/postfix',
    `exec ${postfix} start-fg`,
  ],
};

const files: Readonly<Record<RealHostName, (setting: Setting) => Readonly<Record<string, string>>>> = {
  exim4: ({ dir, port, program: exim }) => ({
    'exim.conf': `exim_path = ${exim}
spool_directory = ${dir}/spool
log_file_path = ${dir}/log/%slog
pid_file_path = ${dir}/exim.pid
primary_hostname = mx.${domain}
domainlist local_domains = ${domain}
daemon_smtp_ports = ${port}
local_interfaces = 127.0.0.1
host_lookup =
tls_advertise_hosts = *
tls_certificate = ${dir}/cert.pem
tls_privatekey = ${dir}/key.pem
smtputf8_advertise_hosts = *
dsn_advertise_hosts = *
message_size_limit = ${realHostLimit}
acl_smtp_rcpt = check
never_users =
keep_environment =
begin acl
check:
  deny local_parts = nobody.here
       message = no such user here
  accept domains = +local_domains
  deny
begin routers
local:
  driver = accept
  domains = +local_domains
  transport = box
begin transports
box:
  driver = appendfile
  directory = ${dir}/mail
  maildir_format
  user = Debian-exim
  group = Debian-exim
`,
  }),
  smtpd: ({ dir, port }) => ({
    'smtpd.conf': `pki "mx.${domain}" cert "${dir}/cert.pem"
pki "mx.${domain}" key "${dir}/key.pem"
table domains { ${domain} }
table users { "a@${domain}" = mailbox, "b@${domain}" = mailbox }
smtp max-message-size "${realHostLimit}"
listen on 127.0.0.1 port ${port} tls pki "mx.${domain}" hostname mx.${domain}
action "in" maildir "${dir}/mail" virtual <users>
match from any for domain <domains> action "in"
`,
  }),
  postfix: ({ dir, port }) => ({
    'postfix/main.cf': `compatibility_level = 3.6
queue_directory = /var/spool/postfix
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
data_directory = /var/lib/postfix
myhostname = mx.${domain}
mydestination =
mynetworks = 192.0.2.0/30
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file = ${dir}/log/postfix
maillog_file_prefixes = ${dir}
virtual_mailbox_domains = ${domain}
virtual_mailbox_base = ${dir}
virtual_mailbox_maps = inline:{a@${domain}=mail/, b@${domain}=mail/}
virtual_uid_maps = static:${uid}
virtual_gid_maps = static:${uid}
virtual_minimum_uid = 1000
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_security_level = may
smtpd_tls_cert_file = ${dir}/cert.pem
smtpd_tls_key_file = ${dir}/key.pem
message_size_limit = ${realHostLimit}
smtputf8_enable = yes
`,
    'postfix/master.cf': `${port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
virtual unix - n n - - virtual
smtp unix - - n - - smtp
error unix - - n - - error
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
`,
  }),
};

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

/** Users that the programs were built for, and who owns the mailboxes. */
async function writeUsers(dir: string): Promise<void> {
  const names = ['Debian-exim', 'opensmtpd', 'opensmtpq', 'mailbox'];
  for (const file of ['passwd', 'group']) {
    const known = (await readFile(`/etc/${file}`, 'utf8')).split('\n').filter((line) => line !== '');
    const lines = known.filter((line) => !names.includes(line.split(':')[0] ?? ''));
    for (const [place, name] of names.entries()) {
      // All of them may write mailboxes.
      const id = name === 'mailbox' || name === 'Debian-exim' ? uid : uid + 1 + place;
      lines.push(file === 'group' ? `${name}:x:${id}:` : `${name}:x:${id}:${id}::${dir}/home:/bin/sh`);
    }
    await writeFile(join(dir, file), `${lines.join('\n')}\n`);
  }
}

export async function startRealHost(name: RealHostName): Promise<RealHost> {
  const dir = await mkdtemp(join(tmpdir(), `epost-${name}-`));
  const setting: Setting = { dir, port: await freePort(), program: program(name) };
  const pems = await selfsigned.generate([{ name: 'commonName', value: `mx.${domain}` }]);
  await chmod(dir, 0o755);
  for (const folder of ['mail', 'log', 'spool', 'home']) await mkdir(join(dir, folder));
  if (name === 'postfix') await cp('/etc/postfix', join(dir, 'postfix'), { recursive: true });
  await writeUsers(dir);
  const made = { ...files[name](setting), 'cert.pem': pems.cert, 'key.pem': pems.private };
  for (const [file, text] of Object.entries(made)) await writeFile(join(dir, file), text);
  // Not for all to read: OpenSMTPD insists.
  await chmod(join(dir, 'key.pem'), 0o600);
  const script = [
    'set -e',
    `mount --bind ${dir}/passwd /etc/passwd`,
    `mount --bind ${dir}/group /etc/group`,
    `chown Debian-exim ${dir}/spool ${dir}/mail ${dir}/home`,
    ...(name === 'exim4' ? [`chown Debian-exim ${dir}/log ${dir}/key.pem`] : []),
    ...starts[name](setting),
  ];
  const child = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', script.join('\n')], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes: Buffer) => {
      said += bytes.toString();
    });
  }
  const host: RealHost = {
    port: setting.port,
    async inbox() {
      const box = join(dir, 'mail', 'new');
      const names = await readdir(box).catch(() => []);
      return Promise.all(names.map(async (file) => readFile(join(box, file))));
    },
    said: () => said,
    async stop() {
      await ended(child);
      await rm(dir, { recursive: true, force: true });
    },
  };
  await listening(setting.port, child, () => said).catch(async (error: unknown) => {
    await host.stop();
    throw error;
  });
  return host;
}

/** It and all that it started: they are a process group of their own. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'exit');
  process.kill(-child.pid, 'SIGTERM');
  const timer = setTimeout(() => process.kill(-(child.pid ?? 0), 'SIGKILL'), 5_000);
  await closed;
  clearTimeout(timer);
}

async function listening(port: number, child: ChildProcess, said: () => string): Promise<void> {
  const end = Date.now() + 30_000;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`it ended at once: ${said()}`);
    const socket = connect({ host: '127.0.0.1', port });
    // oxlint-disable-next-line no-await-in-loop -- until it answers
    const isOpen = await new Promise((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    });
    socket.destroy();
    if (isOpen === true) return;
    if (Date.now() > end) throw new Error(`it never listened: ${said()}`);
    // oxlint-disable-next-line no-await-in-loop -- until it answers
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
  }
}
