/** The page in a browser, against the real server. Browsers are not downloaded: the system's Chromium is used. */

import { defineConfig } from '@playwright/test';

export default defineConfig({
  testDir: 'e2e',
  outputDir: 'test-results',
  workers: 2,
  // Every test has a server of its own: whichever is next, so that both processors are busy to the end.
  fullyParallel: true,
  timeout: 120_000,
  expect: { timeout: 20_000 },
  reporter: [['line']],
  use: {
    viewport: { width: 1280, height: 800 },
    locale: 'en-GB',
    timezoneId: 'Europe/London',
    trace: 'retain-on-failure',
    actionTimeout: 20_000,
    launchOptions: { executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] },
  },
  projects: [
    { name: 'page', testIgnore: '**/figures.spec.ts' },
    // Run by itself, on a machine that does nothing else: `npm run figures`.
    // Without a trace: whoever records what is measured slows it down.
    { name: 'figures', testMatch: '**/figures.spec.ts', use: { trace: 'off' } },
  ],
});
