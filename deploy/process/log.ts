import { destination, type Logger, pino } from 'pino';

export type Level = 'debug' | 'info' | 'warn' | 'error';

// Some 20,000 lines. A reader of standard error that stands still may cost lines of the log; it must never hold up mail.
const maxWaitingBytes = 4 * 1024 * 1024;

/**
 * JSON lines on standard error: standard output belongs to what commands answer. Lines are written beside the work, those of
 * one moment together, and all of them before the process ends by itself; `kill -9` may lose the last ones.
 */
export function stderrLog(level: Level): Logger {
  return pino(
    {
      level,
      base: { pid: process.pid },
      serializers: { err: pino.stdSerializers.errWithCause, fault: pino.stdSerializers.errWithCause },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    destination({ dest: 2, sync: false, minLength: 0, maxLength: maxWaitingBytes }),
  );
}
