/** The rules of the page. Imports point one way: packages ← lib ← components ← features ← app. */

import imports from 'eslint-plugin-import-x';
import hooks from 'eslint-plugin-react-hooks';
import tseslint from 'typescript-eslint';

/** Features that others may use: the live connection and the people in it are everybody's. */
const zones = [
  { target: './packages', from: './src', message: 'a package knows nothing of the page' },
  { target: './src/lib', from: ['./src/components', './src/features', './src/app'], message: 'lib knows nothing above it' },
  { target: './src/components', from: ['./src/features', './src/app'], message: 'components know no feature' },
  { target: './src/features', from: './src/app', message: 'features know nothing of the app around them' },
  { target: './src/features/session', from: './src/features', except: ['./session'], message: 'one feature, one folder' },
  { target: './src/features/chat', from: './src/features', except: ['./chat'], message: 'chat is what others build on' },
  { target: './src/features/scripts', from: './src/features', except: ['./scripts', './chat'], message: 'one feature, one folder' },
  { target: './src/features/auto-reply', from: './src/features', except: ['./auto-reply', './chat'], message: 'one feature, one folder' },
  { target: './src/features/settings', from: './src/features', except: ['./settings', './chat'], message: 'one feature, one folder' },
  { target: './src/features/admin', from: './src/features', except: ['./admin', './scripts'], message: 'one feature, one folder' },
];

export default tseslint.config(
  { ignores: ['dist', 'node_modules', 'test-results', 'src/lib/openapi.d.ts'] },
  ...tseslint.configs.recommended,
  {
    files: ['**/*.{ts,tsx}'],
    plugins: { 'import-x': imports, 'react-hooks': hooks },
    settings: { 'import-x/resolver-next': [imports.createNodeResolver({ tsconfig: { configFile: new URL('./tsconfig.json', import.meta.url).pathname }, extensions: ['.ts', '.tsx'] })] },
    rules: {
      'import-x/no-restricted-paths': ['error', { basePath: import.meta.dirname, zones }],
      'import-x/no-cycle': 'error',
      'react-hooks/rules-of-hooks': 'error',
      'react-hooks/exhaustive-deps': 'error',
      'max-lines': ['error', { max: 500, skipBlankLines: true, skipComments: true }],
      'no-restricted-properties': ['error', { property: 'innerHTML', message: 'text never becomes markup' }, { property: 'outerHTML', message: 'text never becomes markup' }],
      'no-restricted-syntax': ['error', { selector: 'JSXAttribute[name.name="dangerouslySetInnerHTML"]', message: 'text never becomes markup' }],
      '@typescript-eslint/no-explicit-any': 'error',
    },
  },
  {
    files: ['src/**/*.{ts,tsx}'],
    ignores: ['src/lib/storage.ts'],
    rules: { 'no-restricted-globals': ['error', { name: 'localStorage', message: 'lib/storage.ts: a browser may forbid it, or have no room' }] },
  },
  { files: ['e2e/**/*.ts'], rules: { 'no-empty-pattern': 'off', 'react-hooks/rules-of-hooks': 'off', 'no-restricted-properties': 'off' } },
);
