/** The whole page by keyboard: nobody touches a mouse here. */

import type { Locator, Page } from '@playwright/test';

import { expect, newPage, test } from './support/test.ts';

/** Presses Tab until `wanted` has the focus, which can be seen. */
async function reach(page: Page, wanted: Locator, key: 'Tab' | 'Shift+Tab' = 'Tab'): Promise<void> {
  await expect(wanted).toBeVisible();
  for (let n = 0; n < 80; n += 1) {
    if (await wanted.evaluate((element) => (element.getRootNode() as Document | ShadowRoot).activeElement === element)) {
      const seen = await wanted.evaluate((element) => {
        // On it or on what is drawn around it.
        for (let at: Element | null = element; at && at !== document.body; at = at.parentElement) {
          const style = getComputedStyle(at);
          if ((style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none') return true;
        }
        return element.matches('[contenteditable], textarea, input');
      });
      expect(seen, `${wanted} shows that it has the focus`).toBe(true);
      return;
    }
    // Tab is the editor's own until Escape.
    if (await page.evaluate(() => document.activeElement?.matches('.editor'))) await page.keyboard.press('Escape');
    await page.keyboard.press(key);
  }
  throw new Error(`${wanted} is not reached by ${key}`);
}

async function press(page: Page, wanted: Locator, key = 'Enter'): Promise<void> {
  await reach(page, wanted);
  await page.keyboard.press(key);
}

test('from an account to a script that runs', async ({ browser, server, person }) => {
  const bea = await person('bea');
  const wrong: string[] = [];
  const page = await newPage(browser, {}, wrong);
  await page.goto(server.url);

  await press(page, page.getByRole('button', { name: 'Create an account' }));
  await reach(page, page.getByLabel('Name', { exact: true }), 'Shift+Tab');
  await page.keyboard.type('ada');
  await reach(page, page.getByLabel('Password'));
  await page.keyboard.type('correct horse');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { name: 'Chats' })).toBeVisible();

  await press(page, page.getByRole('button', { name: 'New conversation' }).first());
  await expect(page.getByRole('combobox', { name: 'Find people by name' })).toBeFocused();
  await page.keyboard.type('bea');
  await expect(page.getByRole('option', { name: 'bea', exact: true })).toBeVisible();
  await page.keyboard.press('Enter');
  await press(page, page.getByRole('dialog').getByRole('button', { name: /^Write( to|$)/ }));
  await expect(page.getByRole('textbox', { name: /^Message/ })).toBeFocused();
  await page.keyboard.type('spoiler: written without a mouse');
  await page.keyboard.press('Enter');
  await press(bea.page, bea.page.getByRole('link', { name: /ada/ }));
  await expect(bea.message('spoiler: written without a mouse')).toBeVisible();

  // An emoji, and back to the text.
  await reach(page, page.getByRole('button', { name: 'Emoji' }), 'Shift+Tab');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Escape');
  await expect(page.getByRole('textbox', { name: /^Message/ })).toBeFocused();

  // A script from the gallery, changed, tried, running.
  await reach(page, page.getByRole('link', { name: 'Scripts' }), 'Shift+Tab');
  await page.keyboard.press('Enter');
  await press(page, page.getByRole('button', { name: 'Templates' }));
  await press(page, page.getByRole('button', { name: /^Keyword mute (?!jolie)/ }));
  await reach(page, page.getByRole('textbox', { name: 'Source of the incoming script' }));
  await page.keyboard.press('Control+End');
  await page.keyboard.type('\n-- by keyboard');
  await expect(page.locator('.check')).toContainText('It compiles');
  // Tab is the editor's own; Escape gives it back.
  await reach(page, page.getByRole('button', { name: 'Save and activate' }), 'Tab');
  await page.keyboard.press('Enter');
  await expect(page.getByText('Version 1 is running').first()).toBeVisible();
  await reach(page, page.getByRole('tab', { selected: true }));
  await page.keyboard.press('ArrowRight');
  await expect(page.getByRole('tab', { selected: true })).toBeFocused();

  // And out again.
  await reach(page, page.getByRole('link', { name: 'Settings' }), 'Shift+Tab');
  await page.keyboard.press('Enter');
  await press(page, page.getByRole('button', { name: 'Sign out' }));
  await expect(page.getByLabel('Name', { exact: true })).toBeVisible();
  await page.context().close();
  expect(wrong).toEqual([]);
});

test('an administrator drains a node, or thinks better of it', async ({ browserOf, server }) => {
  await server.admin('root');
  const { page } = await browserOf({ id: 0, username: 'root', password: 'correct horse', accessToken: '' });
  await press(page, page.getByRole('link', { name: 'Admin' }));
  await press(page, page.getByRole('link', { name: 'Nodes' }));
  const drain = page.getByRole('button', { name: 'Drain' });
  await press(page, drain);
  await expect(page.getByRole('dialog')).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toBeHidden();
  await expect(drain).toBeFocused();
  await page.keyboard.press('Enter');
  await press(page, page.getByRole('button', { name: 'Drain it' }));
  await expect(page.locator('[data-connection]')).toContainText(/restarting|lost|Connecting again/);
});
