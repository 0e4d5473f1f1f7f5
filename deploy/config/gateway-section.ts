import type { ScanSettings } from '../../gateway/scan/scanners.ts';
import { InputFault } from './problem.ts';
import type { Config, GatewaySection } from './schema.ts';

/** The gateway's part of a configuration; an InputFault on a home that only joined a ring. */
export function gatewaySection(config: Config, file: string): GatewaySection {
  if (config.gateway !== undefined) return config.gateway;
  throw new InputFault([
    {
      file,
      path: 'gateway',
      found: 'no gateway on this home',
      expected: 'the home of a gateway',
      suggestion: 'run this on the machine where `epost init` was run',
    },
  ]);
}

/** The scanners that a gateway asks; none where there is no gateway. */
export function scanSettings(section: GatewaySection | undefined): ScanSettings {
  const { clamav = null, rspamd = null, timeout = 0 } = section?.scan ?? {};
  return { clamav, rspamd, timeoutMs: timeout };
}
