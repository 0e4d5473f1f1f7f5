/** Lets few things begin in each turn of the event loop, in the order in which they came, so that what arrives meanwhile is read in between. */
export class Turns {
  readonly #perTurn: number;
  readonly #waiting: (() => void)[] = [];
  #begun = 0;
  #isTurning = false;

  constructor(perTurn: number) {
    this.#perTurn = perTurn;
  }

  /** Resolves when it may begin. */
  async mine(): Promise<void> {
    if (this.#begun < this.#perTurn && this.#waiting.length === 0) {
      this.#begun += 1;
      this.#turn();
      return;
    }
    const turn = new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
    });
    this.#turn();
    return turn;
  }

  #turn(): void {
    if (this.#isTurning) return;
    this.#isTurning = true;
    setImmediate(() => {
      this.#isTurning = false;
      const next = this.#waiting.splice(0, this.#perTurn);
      this.#begun = next.length;
      for (const begin of next) begin();
      if (this.#begun > 0) this.#turn();
    });
  }
}
