/** Whether mail is taken, as far as the disk goes. */
export type GateState =
  | { readonly at: 'open' }
  | {
      readonly at: 'shut';
      readonly why: string;
      readonly since: number;
      /** Probes in a row that found nothing wrong. */
      readonly goodProbes: number;
    };

export type Probe = { readonly ok: true } | { readonly ok: false; readonly why: string };

export const open: GateState = { at: 'open' };

// A disk at its limit, or one that drops out, is well for a moment again and again: a gate that follows each of them tells clients two things by turns.
const goodProbesToOpen = 3;

/** The state after a probe: one bad probe shuts at once, several good ones in a row open. */
export function afterProbe(state: GateState, probe: Probe, now: number): GateState {
  if (!probe.ok) return { at: 'shut', why: probe.why, since: state.at === 'shut' ? state.since : now, goodProbes: 0 };
  if (state.at === 'open') return state;
  const goodProbes = state.goodProbes + 1;
  return goodProbes >= goodProbesToOpen ? open : { ...state, goodProbes };
}
