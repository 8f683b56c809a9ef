/** What users program: an auto-reply, a script from the gallery, what it filters. And who looks after it all. */

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

test('the other language is offered where the server has it', async ({ person }) => {
  const { page } = await person('ada');
  await page.route('**/api/v1/scripts/languages', async (route) => {
    const luau = { language: 'luau', name: 'Luau', contentType: 'text/x-luau', available: true };
    await route.fulfill({ json: { items: [luau, { ...luau, language: 'jolie', name: 'Jolie', contentType: 'text/x-jolie' }], next: null } });
  });
  await page.getByRole('link', { name: 'Scripts' }).click();
  const editor = page.getByRole('textbox', { name: 'Source of the incoming script' });
  await expect(editor).toContainText('function incoming(message)');
  const language = page.getByRole('combobox', { name: 'Language' });
  await language.selectOption('Jolie');
  await expect(editor).toContainText('include "console.iol"');
  // What somebody wrote is left as it is.
  await editor.click();
  await page.keyboard.press('Control+End');
  await page.keyboard.type('// mine');
  await language.selectOption('Luau');
  await expect(editor).toContainText('// mine');
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
