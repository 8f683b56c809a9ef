/** Messages and names that mean harm: they stay text, and the page's policy is never needed. */

import { expect, test } from './support/test.ts';

const HOSTILE = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  '<svg/onload=alert(1)>',
  '"><iframe src="javascript:alert(1)"></iframe>',
  '<a href="javascript:alert(1)">x</a>',
  'javascript:alert(1)',
  'https://example.org/"onmouseover="alert(1)',
  "https://example.org/'><script>alert(1)</script>",
  '<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>',
  '<template><script>alert(1)</script></template>',
  '{{constructor.constructor("alert(1)")()}} ${alert(1)} <%= alert(1) %>',
  '<body onload=alert(1)><input autofocus onfocus=alert(1)>',
  '<style>*{display:none}</style><link rel=stylesheet href=//evil.example>',
  '<base href="https://evil.example/"><meta http-equiv=refresh content="0;url=//evil.example">',
  '[x](javascript:alert(1)) ![x](x "onerror=alert(1)")',
  '&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x&#62;',
  '\u202ereversed\u202c \u200b zero \u0007 bell \u001b[31m red',
  '__proto__',
  'ﷺ'.repeat(50),
  'Z̮̞̠͙͔ͅḀ̗̞͈̻̗Ḷ͙͎̯̹̞͓G̻O̭̗̮',
];

test('as messages', async ({ browserOf, server }) => {
  const [ada, bea] = [await server.account('ada'), await server.account('bea')];
  for (const text of HOSTILE) await server.send(bea, [ada.id], text);
  const who = await browserOf(ada);
  const requests: string[] = [];
  who.page.on('request', (request) => requests.push(request.url()));
  await expect(who.page.locator('.row-text')).toContainText('Z̮');
  await who.page.getByRole('link', { name: /bea/ }).click();
  await expect(who.page.locator('.message')).toHaveCount(HOSTILE.length);
  const shown = await who.page.locator('.message-text').evaluateAll((all) => all.map((one) => one.textContent));
  expect(shown).toEqual(HOSTILE);
  // Nothing of it became an element, but for addresses of pages.
  const elements = await who.page.locator('.message-text').evaluateAll((all) => all.flatMap((one) => [...one.querySelectorAll('*')].map((inner) => `${inner.tagName} ${inner.getAttribute('href')}`)));
  expect(elements.every((element) => /^A https:\/\/(example\.org|evil\.example)\//.test(element)), elements.join()).toBe(true);
  expect(await who.page.locator('.message-text a').evaluateAll((all) => all.map((one) => one.getAttribute('rel')))).toEqual(elements.map(() => 'noopener noreferrer nofollow'));
  expect(requests.filter((url) => !url.startsWith(server.url) && !url.startsWith(server.url.replace('http', 'ws')))).toEqual([]);
  // The page wrote it itself, too.
  for (const text of HOSTILE.slice(0, 5)) await who.say(text);
  await expect(who.page.locator('.message.own:not(.pending)')).toHaveCount(5);
});

test('as names: what the server takes as one, and what a hostile server would send', async ({ browserOf, server }) => {
  const ada = await server.account('ada');
  const bea = await server.account('b.e-a_');
  await server.send(bea, [ada.id], 'Hi');
  for (const name of HOSTILE.slice(0, 6)) {
    await expect(server.account(name)).rejects.toThrow('invalid_username');
  }
  const who = await browserOf(ada);
  await who.page.route('**/api/v1/users?ids=*', async (route) => {
    await route.fulfill({ json: { items: [{ id: ada.id, username: 'ada' }, { id: bea.id, username: HOSTILE[1] }], next: null } });
  });
  await who.page.reload();
  await expect(who.page.locator('.row-title')).toHaveText(HOSTILE[1] as string);
  await who.page.locator('.row').click();
  await expect(who.page.getByRole('heading', { level: 1 })).toHaveText(HOSTILE[1] as string);
});

test('what is injected all the same does not run', async ({ browser, server }) => {
  const page = await (await browser.newContext()).newPage();
  const refused: string[] = [];
  page.on('console', (message) => refused.push(message.text()));
  const answer = await page.goto(server.url);
  const policy = answer?.headers()['content-security-policy'] ?? '';
  expect(policy).toContain("default-src 'none'");
  expect(policy).not.toContain('unsafe');
  const ran = await page.evaluate(() => {
    const outcome: Record<string, boolean> = {};
    const script = document.createElement('script');
    const attempt = (name: string, run: () => void) => {
      try {
        run();
        outcome[name] = true;
      } catch {
        outcome[name] = false;
      }
    };
    attempt('innerHTML', () => (document.body.innerHTML += '<img src=x onerror="window.ran = 1">'));
    attempt('script text', () => (script.textContent = 'window.ran = 1'));
    attempt('second policy', () => (window as unknown as { trustedTypes: { createPolicy(n: string, r: object): void } }).trustedTypes.createPolicy('default', {}));
    const style = document.createElement('style');
    style.textContent = 'body { display: none }';
    document.head.append(style);
    outcome['inline style'] = getComputedStyle(document.body).display === 'none';
    outcome.ran = 'ran' in window;
    return outcome;
  });
  expect(ran).toEqual({ innerHTML: false, 'script text': false, 'second policy': false, 'inline style': false, ran: false });
  const elsewhere = await page.evaluate(() => fetch('https://example.org/').then(() => 'through', () => 'refused'));
  expect(elsewhere).toBe('refused');
  expect(refused.join('\n')).toMatch(/Content Security Policy|TrustedHTML/);
});
