import type { Reporter, TestCase, TestModule } from 'vitest/node';

/** Prints `N passed, N failed, N skipped` as the runner's last line, the form that CI reads. */
export default class TotalsReporter implements Reporter {
  #passed = 0;
  #failed = 0;
  #skipped = 0;

  onTestCaseResult(test: TestCase): void {
    const state = test.result().state;
    if (state === 'passed') this.#passed += 1;
    else if (state === 'failed') this.#failed += 1;
    else this.#skipped += 1;
  }

  onTestRunEnd(modules: ReadonlyArray<TestModule>, unhandled: ReadonlyArray<unknown>): void {
    // A file that could not be loaded has no test cases: it counts as one failure, and so does each unhandled error.
    const broken = modules.filter((module) => module.errors().length > 0).length;
    const failed = this.#failed + broken + unhandled.length;
    process.once('exit', () => {
      process.stdout.write(`\n${this.#passed} passed, ${failed} failed, ${this.#skipped} skipped\n`);
    });
  }
}
