import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    // Two cores: more workers only make the timing-sensitive overlay tests wait for each other.
    maxWorkers: 2,
    // Only for what hangs: on a loaded machine a test that starts several programs takes ten times as long as on an idle one.
    testTimeout: 120_000,
    hookTimeout: 180_000,
    reporters: ['default', './test/totals-reporter.ts'],
  },
});
