/** What a recovery does, or would do, to one folder. */
export interface FolderRecovery {
  readonly name: string;
  /** Messages that are not in it any more and come back. */
  readonly broughtBack: number;
  /** Messages that came since: moved to another folder, not lost. */
  readonly setAside: number;
  /** Messages whose flags become what they were. */
  readonly flagged: number;
  /** Removed since, and made again. */
  readonly made: boolean;
  /** Why nothing can be done here. */
  readonly trouble?: string;
}

export interface Recovery {
  /** Of when the heads are that it goes back to. */
  readonly at: number;
  /** Where what came since is. */
  readonly aside: string;
  readonly folders: readonly FolderRecovery[];
}
