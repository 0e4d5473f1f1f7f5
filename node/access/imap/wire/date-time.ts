import { SyntaxFault } from './scanner.ts';

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
const dateTime = /^([ 0-9][0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})$/;
const date = /^([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})$/;

/** RFC 3501 §9 date-time to ms since the epoch. Throws SyntaxFault. */
export function parseDateTime(text: string): number {
  const match = dateTime.exec(text);
  if (match === null) throw new SyntaxFault('expected a date-time such as "17-Jul-1996 02:44:25 -0700"');
  const [
    ,
    day = '',
    month = '',
    year = '',
    hour = '',
    minute = '',
    second = '',
    sign = '',
    zoneHour = '',
    zoneMinute = '',
  ] = match;
  const local = Date.UTC(Number(year), monthOf(month), Number(day), Number(hour), Number(minute), Number(second));
  const zone = (Number(zoneHour) * 60 + Number(zoneMinute)) * 60_000;
  return sign === '+' ? local - zone : local + zone;
}

/** RFC 3501 §9 date to the ms at which that day begins in UTC. Throws SyntaxFault. */
export function parseDate(text: string): number {
  const match = date.exec(text);
  if (match === null) throw new SyntaxFault('expected a date such as 1-Feb-1994');
  return Date.UTC(Number(match[3]), monthOf(match[2] ?? ''), Number(match[1]));
}

/** RFC 3501 §9 date-time, always in UTC, without its quotes. */
export function formatDateTime(ms: number): string {
  const at = new Date(ms);
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${two(at.getUTCDate())}-${months[at.getUTCMonth()]}-${String(at.getUTCFullYear()).padStart(4, '0')}`;
  return `${day} ${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())} +0000`;
}

function monthOf(name: string): number {
  const month = months.findIndex((known) => known.toLowerCase() === name.toLowerCase());
  if (month === -1) throw new SyntaxFault('no such month');
  return month;
}
