import { StoreFault, type StoreFaultCode } from '../store/fault.ts';
import { DoorFault, type DoorFaultCode } from './fault.ts';

// Faults that mean the same on both sides of the door keep their class and code; all others become DoorFault `failed`.

const storeCodes: readonly StoreFaultCode[] = [
  'quorum',
  'quota',
  'missing',
  'unavailable',
  'stale',
  'fork',
  'invalid',
  'stopped',
];
const doorCodes: readonly DoorFaultCode[] = ['no-such-method', 'damaged', 'too-large', 'too-many', 'failed'];
const maxMessageLength = 500;

export function encodeFault(error: unknown): { of: string; code: string; message: string } {
  const message = (error instanceof Error ? error.message : 'it failed').slice(0, maxMessageLength);
  if (error instanceof StoreFault) return { of: 'store', code: error.code, message };
  if (error instanceof DoorFault) return { of: 'door', code: error.code, message };
  return { of: 'door', code: 'failed', message };
}

export function decodeFault(value: unknown): Error {
  const { of, code, message } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const text = typeof message === 'string' ? message.slice(0, maxMessageLength) : 'it failed';
  const store = storeCodes.find((one) => one === code);
  if (of === 'store' && store !== undefined) return new StoreFault(store, text);
  return new DoorFault(doorCodes.find((one) => one === code) ?? 'failed', text);
}
