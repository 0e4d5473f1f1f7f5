/** What one frame of a channel holds at most: a sealed notification with what is around it. */
export const maxChannelFrameBytes = 8 * 1024;

/**
 * What becomes of a frame: `pass` hands it on to the others of the channel; `drop` does not; `offence` is what no honest
 * member sends on, and whoever keeps doing it is not listened to for a while.
 */
export type FrameVerdict = 'pass' | 'drop' | 'offence';

/** One topic among members of the ring. Best effort: frames may be lost, doubled, late and out of order. */
export interface Channel {
  /** Resolves when the frame has been handed to those who take part and are up now, if any. Throws OverlayFault `too-large`. */
  publish(frame: Uint8Array): Promise<void>;
  close(): void;
}

/** Spreads small frames among those members of the ring that take part in a topic, each over a few neighbours. */
export interface Channels {
  /**
   * Takes part in `topic` (ASCII) until closed. `judge` sees each frame of the others, those who take part on this very node included, once, and must
   * answer at once: what a frame brings is worked on elsewhere. Frames come from certified members only, but who wrote one is for the frame to prove.
   */
  join(topic: string, judge: (frame: Uint8Array) => FrameVerdict): Channel;
}
