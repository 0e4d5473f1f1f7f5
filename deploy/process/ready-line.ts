/** What `--json` prints when ready; the users have passwords on the first start only. */
export interface ReadyLine {
  readonly ready: true;
  readonly domain: string;
  readonly mx?: string | undefined;
  readonly submission?: string | undefined;
  readonly submissions?: string | undefined;
  readonly imap?: string | undefined;
  readonly imaps?: string | undefined;
  readonly http?: string | undefined;
  readonly ring?: string | undefined;
  readonly home: string;
  readonly users: readonly { readonly address: string; readonly password?: string }[];
}
