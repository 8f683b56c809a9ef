/** What users program: an auto-reply, a script from the gallery, what it filters. And who looks after it all. */

import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

import { expect, test } from './support/test.ts';

test('an auto-reply: switched on, previewed, answered, and said whom it did not answer', async ({ person }) => {
  const [ada, bea] = [await person('ada'), await person('bea')];
  await bea.page.getByRole('link', { name: 'Auto-reply' }).click();
  await bea.page.getByRole('switch', { name: 'Answer for me' }).click();
  await expect(bea.page.getByText('An auto-reply that is on needs a text.')).toBeVisible();
  await bea.page.getByLabel('Text').fill('Back on Monday.');
  await expect(bea.page.getByRole('region', { name: 'Preview' })).toContainText('Back on Monday.');
  await bea.page.getByRole('button', { name: 'Save' }).click();
  await expect(bea.page.getByText('Answering now')).toBeVisible();
  await ada.openWith('bea');
  await ada.say('Are you there?');
  await expect(ada.page.locator('.message.automatic')).toContainText('Back on Monday.');
  await ada.say('Hello?');
  const log = bea.page.locator('.log-row');
  await expect(log.filter({ hasText: 'Answered' }).filter({ hasText: 'to ada' })).toHaveCount(1);
  await expect(log.filter({ hasText: 'Not answered' })).toContainText('answered');
});

test('a script: from the gallery, mended by its errors, tried, activated, seen working, rolled back', async ({ person }) => {
  test.setTimeout(150_000);
  const [ada, bea] = [await person('ada'), await person('bea')];
  const { page } = bea;
  await page.getByRole('link', { name: 'Scripts' }).click();
  await page.getByRole('button', { name: 'Templates' }).click();
  await page.getByRole('button', { name: /^Keyword mute (?!jolie)/ }).click();
  await expect(page.locator('.outcome').first()).toContainText('Drop');
  await expect(page.locator('.outcome').last()).toContainText('Forward');
  const editor = page.getByRole('textbox', { name: 'Source of the incoming script' });
  // A mistake is shown at its line as one types, and cannot be saved.
  await editor.click();
  await page.keyboard.press('Control+End');
  await page.keyboard.type('\nthis is wrong');
  await expect(page.locator('.check')).toContainText(/Line \d+/);
  await expect(page.locator('.cm-lint-marker-error')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Save and activate' })).toBeDisabled();
  for (let n = 0; n < 'this is wrong'.length + 1; n += 1) await page.keyboard.press('Backspace');
  await expect(page.locator('.check')).toContainText('It compiles');
  await page.getByRole('button', { name: 'Save and activate' }).click();
  await expect(page.getByText('Version 1 is running').first()).toBeVisible();
  // It works.
  await ada.openWith('bea');
  await ada.say('spoiler: the butler did it');
  await ada.say('Lunch?');
  await expect(ada.message('Lunch?')).toBeVisible();
  await page.getByRole('tab', { name: 'Log' }).click();
  await expect(page.locator('.run').filter({ hasText: 'Drop' })).toBeVisible();
  await page.getByRole('tab', { name: 'Figures' }).click();
  await expect(page.locator('.numbers')).toContainText('2');
  // What it would make of what came, side by side.
  await page.getByRole('tab', { name: 'Try' }).click();
  await page.getByRole('button', { name: 'My last 5 messages' }).click();
  const own = page.locator('.own-message');
  await expect(own).toHaveCount(1);
  await expect(own).toContainText(/Came in\s*Lunch\?\s*Then\s*Forward/);
  // What was kept back can be had.
  await page.getByRole('link', { name: 'Filtered' }).click();
  await expect(page.locator('.filtered-row')).toContainText('spoiler: the butler did it');
  await page.getByRole('button', { name: 'Restore the message of ada' }).click();
  await expect(page.getByText('Nothing was filtered')).toBeVisible();
  await page.getByRole('link', { name: 'Chats' }).click();
  await page.getByRole('link', { name: /ada/ }).click();
  await expect(page.locator('.message-text')).toHaveText(['Lunch?', 'spoiler: the butler did it']);
  // Another version, and back.
  await page.getByRole('link', { name: 'Scripts' }).click();
  await editor.click();
  await page.keyboard.press('Control+Home');
  await page.keyboard.type('-- changed\n');
  await page.getByRole('button', { name: 'Save and activate' }).click();
  await expect(page.getByText('Version 2 is running', { exact: true }).first()).toBeVisible();
  await page.getByRole('tab', { name: 'Versions' }).click();
  await page.getByRole('button', { name: 'Compare version 2' }).click();
  await expect(page.getByRole('dialog').locator('.cm-changedLine')).toContainText('-- changed');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Roll back to version 1' }).click();
  await expect(page.getByText('Version 1 is running').first()).toBeVisible();
  await page.getByRole('button', { name: 'Disable' }).click();
  await expect(page.getByText('Nothing is running')).toBeVisible();
});

test('Jolie is offered where the server has it, is tried there, and runs', async ({ browserOf, server }) => {
  test.setTimeout(180_000);
  const home = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'parlor-tests/jolie');
  expect(existsSync(home), `tests/setup.sh puts Jolie into ${home}`).toBe(true);
  await server.kill();
  await server.up({ PARLOR_SCRIPTS__JOLIE__HOME: home });
  const ada = await browserOf(await server.account('ada'));
  const bea = await server.account('bea');
  const { page } = ada;
  await page.getByRole('link', { name: 'Scripts' }).click();
  const editor = page.getByRole('textbox', { name: 'Source of the incoming script' });
  await expect(editor).toContainText('function incoming(message)');
  const language = page.getByRole('combobox', { name: 'Language' });
  await language.selectOption('Jolie');
  await expect(editor).toContainText('include "console.iol"');
  // An error is shown as one types, as with the other language.
  await editor.click();
  await page.keyboard.press('Control+End');
  await page.keyboard.type('\n}');
  await expect(page.locator('.check')).toContainText(/Line \d+/, { timeout: 30_000 });
  await page.keyboard.press('Backspace');
  await expect(page.locator('.check')).toContainText('It compiles', { timeout: 30_000 });
  await page.keyboard.press('Control+Home');
  await page.keyboard.type('// mine\n');
  await page.getByRole('button', { name: 'Save and activate' }).click();
  await expect(page.getByText('Version 1 is running').first()).toBeVisible({ timeout: 30_000 });
  await server.send(bea, [ada.account.id], 'to a script in Jolie');
  await page.getByRole('tab', { name: 'Log' }).click();
  await expect(page.locator('.run').filter({ hasText: 'Forward' })).toBeVisible({ timeout: 30_000 });
  // What somebody wrote is left as it is.
  await language.selectOption('Luau');
  await expect(editor).toContainText('// mine');
});

test('a server without Jolie says so where one would choose it', async ({ person, server }) => {
  await server.kill();
  await server.up({ PARLOR_SCRIPTS__JOLIE__HOME: join(server.data, 'nothing-here') });
  const { page } = await person('ada');
  await page.getByRole('link', { name: 'Scripts' }).click();
  await expect(page.getByRole('textbox', { name: 'Source of the incoming script' })).toContainText('function incoming(message)');
  const jolie = page.getByRole('combobox', { name: 'Language' }).getByRole('option', { name: /^Jolie \(.*make jolie/ });
  await expect(jolie).toBeDisabled();
});

test('the editor completes the fields of a message', async ({ person }) => {
  const { page } = await person('ada');
  await page.getByRole('link', { name: 'Scripts' }).click();
  const editor = page.getByRole('textbox', { name: 'Source of the incoming script' });
  await editor.click();
  await page.keyboard.press('Control+End');
  await page.keyboard.type('local who = message.se');
  await expect(page.locator('.cm-tooltip-autocomplete')).toContainText('senderId');
});

test('an administrator: users, their scripts, nodes, health', async ({ browserOf, person, server }) => {
  await server.admin('root');
  const root = await browserOf({ id: 0, username: 'root', password: 'correct horse', accessToken: '' });
  const bea = await person('bea');
  const { page } = root;
  await page.getByRole('link', { name: 'Admin' }).click();
  await expect(page.getByText('every stage runs')).toBeVisible();
  await page.getByRole('link', { name: 'Users' }).click();
  await page.getByRole('button', { name: 'Promote bea' }).click();
  await expect(page.getByRole('button', { name: 'Demote bea' })).toBeVisible();
  await page.getByRole('button', { name: 'Demote bea' }).click();
  await page.getByRole('link', { name: 'Scripts of bea' }).click();
  await expect(page.getByRole('heading', { name: 'Scripts of bea' })).toBeVisible();
  await page.goto(`${server.url}/admin/users`);
  await page.getByRole('button', { name: 'Disable bea' }).click();
  await expect(bea.page.getByText('Your login has ended')).toBeVisible();
  await page.goto(`${server.url}/admin/nodes`);
  await expect(page.locator('.facts')).toContainText('Connections');
  await page.getByRole('button', { name: 'Drain' }).click();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await expect(page.getByText('Running')).toBeVisible();
  await page.getByRole('button', { name: 'Drain' }).click();
  await page.getByRole('button', { name: 'Drain it' }).click();
  await expect(page.locator('[data-connection]')).toContainText(/restarting|lost|Connecting again/);
});
