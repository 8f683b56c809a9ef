/** Measures what docs/performance.md tells of the page. By itself, on a quiet machine: `npm --prefix web run figures`. */

import type { CDPSession } from '@playwright/test';

import { PlainBrowser } from './support/plain-browser.ts';
import { Server, type Account } from './support/server.ts';
import { expect, newPage, Person, test } from './support/test.ts';

const MESSAGES = Number(process.env.MESSAGES ?? 100_000);
const FAST = { PARLOR_SESSION__MESSAGES_PER_SECOND: '1000000', PARLOR_SESSION__MESSAGE_BURST: '1000000' };

const say = (name: string, value: string) => console.log(`figure: ${name}: ${value}`);
const at = (sorted: number[], part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
const spread = (values: number[]) => {
  const sorted = [...values].sort((a, b) => a - b);
  return `p50 ${at(sorted, 0.5).toFixed(1)}, p95 ${at(sorted, 0.95).toFixed(1)}, p99 ${at(sorted, 0.99).toFixed(1)}, most ${at(sorted, 1).toFixed(1)} ms (${sorted.length})`;
};

async function fill(server: Server, from: Account, to: number, count: number): Promise<void> {
  let next = 0;
  await Promise.all(Array.from({ length: 64 }, async () => {
    while (next < count) {
      next += 1;
      await server.send(from, [to], `message ${next}: ${'some words of an ordinary length, '.repeat(next % 4)}end`);
    }
  }));
}

async function heap(cdp: CDPSession): Promise<{ mib: number; nodes: number }> {
  await cdp.send('HeapProfiler.enable');
  await cdp.send('HeapProfiler.collectGarbage');
  await cdp.send('HeapProfiler.collectGarbage');
  await cdp.send('Performance.enable');
  const { metrics } = await cdp.send('Performance.getMetrics');
  const of = (name: string) => metrics.find((metric) => metric.name === name)?.value ?? 0;
  return { mib: of('JSHeapUsedSize') / 1024 / 1024, nodes: of('Nodes') };
}

/** Milliseconds from the beginning of the navigation until `selector` is drawn and the page can be used, at a quarter of the processor. */
async function drawn(browser: PlainBrowser, context: string, url: string, selector: string): Promise<number> {
  const page = await browser.page(context);
  await page.send('Page.enable');
  await page.send('Emulation.setCPUThrottlingRate', { rate: 4 });
  // Told of changes, not asked at each frame: a page that is asked draws frames for it.
  const source = `new MutationObserver((_, observer) => {
    if (!document.querySelector(${JSON.stringify(selector)})) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => (window.drawnAt = performance.now())));
  }).observe(document, { childList: true, subtree: true })`;
  await page.send('Page.addScriptToEvaluateOnNewDocument', { source });
  await page.send('Page.navigate', { url });
  const time = await page.until<number>('window.drawnAt');
  await page.close();
  return time;
}

/** As by hand: React listens to what a hand does. */
const SIGN_IN = `(async () => {
  const fill = (name, value) => {
    const input = document.querySelector('input[name=' + name + ']');
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(input, value);
    input.dispatchEvent(new Event('input', { bubbles: true }));
  };
  fill('username', 'ada');
  fill('password', PASSWORD);
  await new Promise(requestAnimationFrame);
  document.querySelector('form button[type=submit]').click();
  return true;
})()`;

test('how soon one can begin', async ({ server }) => {
  const [ada, bea] = [await server.account('ada'), await server.account('bea')];
  await fill(server, bea, ada.id, 60);
  const browser = PlainBrowser.start();
  const bare: number[] = [];
  const cold: number[] = [];
  for (let n = 0; n < 9; n += 1) {
    // By turns with a page that has a line of text and a field, and nothing else: what the browser itself takes.
    bare.push(await drawn(browser, await browser.context(), `data:text/html,<!doctype html><p>Name</p><input name=username>`, 'input[name=username]'));
    cold.push(await drawn(browser, await browser.context(), server.url, 'input[name=username]'));
  }
  say('a bare page with one field, for comparison, processor at a quarter', spread(bare));
  say('usable, first visit ever, processor at a quarter', spread(cold));
  const context = await browser.context();
  const page = await browser.page(context);
  await page.send('Page.enable');
  await page.send('Page.navigate', { url: server.url });
  await page.until(`document.querySelector('input[name=password]') !== null`);
  await page.value(SIGN_IN.replace('PASSWORD', JSON.stringify(ada.password)));
  await page.until(`document.querySelector('a[href^="/c/"]') !== null`);
  await page.value(`document.querySelector('a[href^="/c/"]').click()`);
  await page.until(`document.querySelector('.message') !== null`);
  const conversation = await page.value<string>('location.href');
  await page.close();
  const written: number[] = [];
  const read: number[] = [];
  for (let n = 0; n < 9; n += 1) {
    written.push(await drawn(browser, context, conversation, '.composer textarea'));
    read.push(await drawn(browser, context, conversation, '.message .message-text'));
  }
  say('signed in, one can write, processor at a quarter, files in the cache', spread(written));
  say('signed in, the messages are there, the same', spread(read));
  await browser.stop();
  for (const times of [cold, written]) expect(at([...times].sort((a, b) => a - b), 0.5)).toBeLessThan(1_000);
});

test('a very long conversation, and fifty messages a second', async ({ browser }) => {
  test.setTimeout(1_200_000);
  const server = await Server.start(FAST);
  const [ada, bea] = [await server.account('ada'), await server.account('bea')];
  const begun = Date.now();
  await fill(server, bea, ada.id, MESSAGES);
  say('messages in the conversation', `${MESSAGES}, written in ${((Date.now() - begun) / 1000).toFixed(0)} s`);
  const page = await newPage(browser, { viewport: { width: 1280, height: 800 } }, []);
  await page.goto(server.url);
  const who = new Person(page, ada);
  await who.signIn();
  await page.getByRole('link', { name: /bea/ }).click();
  await page.getByRole('button', { name: /Latest|new/ }).click();
  await expect(page.locator('.message').last()).toBeInViewport();
  const cdp = await page.context().newCDPSession(page);
  const before = await heap(cdp);
  const scroll = (step: number, ms: number) => page.evaluate(async ([pixelsAFrame, limit]) => {
    const log = document.querySelector('[role=log]') as HTMLElement;
    const frames: number[] = [];
    let last = performance.now();
    const end = last + limit;
    while (performance.now() < end) {
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      frames.push(now - last);
      last = now;
      log.scrollTop -= pixelsAFrame;
    }
    return { frames: frames.slice(5), first: Number(document.querySelector<HTMLElement>('[data-seq]')?.dataset.seq), rows: document.querySelectorAll('[data-seq]').length };
  }, [step, ms] as const);
  // As fast as a hand moves a wheel or a thumb a picture: some 6,000 pixels a second, nine screens.
  const { frames, first } = await scroll(100, 30_000);
  say('frames, scrolled by hand', `${spread(frames)}, up to message ${first}`);
  const late = frames.filter((frame) => frame > 50).length;
  say('frames over 50 ms, scrolled by hand', `${late} of ${frames.length}`);
  // Then 1,000 pixels a frame, more than a screen, to the beginning: what all of it takes in memory.
  let seen = first;
  let most = before;
  const hasty: number[] = [];
  for (let n = 0; n < 120 && seen > 1; n += 1) {
    const result = await scroll(1_000, 5_000);
    hasty.push(...result.frames);
    seen = result.first;
    expect(result.rows).toBeLessThanOrEqual(300);
    if (n % 4 === 0) {
      const now = await heap(cdp);
      if (now.mib > most.mib) most = now;
    }
  }
  say('scrolled up to message', `${seen}`);
  say('frames at more than a screen each', spread(hasty));
  expect(seen, 'the beginning was reached').toBe(1);
  const after = await heap(cdp);
  say('heap and nodes at the end of the conversation', `${before.mib.toFixed(1)} MiB, ${before.nodes}`);
  say('heap and nodes at most on the way', `${most.mib.toFixed(1)} MiB, ${most.nodes}`);
  say('heap and nodes when it was scrolled through', `${after.mib.toFixed(1)} MiB, ${after.nodes}`);
  expect(after.mib).toBeLessThan(before.mib + 15);
  await page.getByRole('button', { name: /Latest|new/ }).click();
  await expect(page.locator('.message').last()).toBeInViewport();

  // Fifty a second, while somebody writes.
  await page.evaluate(() => {
    const durations: number[] = [];
    (window as unknown as { durations: number[] }).durations = durations;
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => entry.name === 'keydown' && durations.push(entry.duration)))
      .observe({ type: 'event', durationThreshold: 16, buffered: false } as PerformanceObserverInit);
  });
  let typing = true;
  let sent = 0;
  const flood = (async () => {
    const start = Date.now();
    while (typing) {
      const due = Math.floor(((Date.now() - start) / 1000) * 50);
      while (sent < due) {
        sent += 1;
        void server.send(bea, [ada.id], `flood ${sent}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    return sent / ((Date.now() - start) / 1000);
  })();
  const words = 'The quick brown fox jumps over the lazy dog, again and again. '.repeat(4);
  await who.composer.pressSequentially(words, { delay: 60, timeout: 120_000 });
  typing = false;
  say('messages a second that came', (await flood).toFixed(0));
  await expect(who.composer).toHaveValue(words);
  const slow = await page.evaluate(() => (window as unknown as { durations: number[] }).durations);
  // What took less than 16 ms is not reported: it counts as that.
  const keys = [...slow, ...Array.from({ length: Math.max(0, words.length - slow.length) }, () => 16)];
  say('from a key to the picture with its letter', spread(keys));
  await expect(page.locator('.message').last()).toContainText(`flood ${sent}`, { timeout: 20_000 });
  // Last: all figures are said, whichever of them is too great.
  expect(late / frames.length, 'of a hundred frames, less than two are late').toBeLessThan(0.02);
  expect(at(keys.sort((a, b) => a - b), 0.95)).toBeLessThan(100);
  await page.context().close();
  await server.stop();
});
