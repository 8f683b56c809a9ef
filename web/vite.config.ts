/** Builds the page into `dist`, with every file compressed beside it, so that the server need not. */

import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

import react from '@vitejs/plugin-react';
import { defineConfig, type Plugin } from 'vite';

const here = (path: string) => new URL(path, import.meta.url).pathname;

/** `FILE.br` and `FILE.gz` beside each file that becomes smaller by it. */
function compressed(): Plugin {
  const walk = (folder: string): string[] =>
    readdirSync(folder).flatMap((name) => {
      const path = join(folder, name);
      return statSync(path).isDirectory() ? walk(path) : [path];
    });
  return {
    name: 'parlor-compressed',
    apply: 'build',
    closeBundle() {
      for (const path of walk(here('./dist'))) {
        if (!/\.(html|js|css|svg|webmanifest)$/.test(path)) continue;
        const bytes = readFileSync(path);
        const br = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
        const gz = gzipSync(bytes, { level: 9 });
        if (br.length < bytes.length) writeFileSync(`${path}.br`, br);
        if (gz.length < bytes.length) writeFileSync(`${path}.gz`, gz);
      }
    },
  };
}

export default defineConfig(({ mode }) => ({
  plugins: [react(), compressed()],
  resolve: { alias: { '@': here('./src') } },
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    // An inlined file would be a `data:` address, which the policy of the page refuses.
    assetsInlineLimit: 0,
    ...(mode === 'worker'
      ? {
          emptyOutDir: false,
          copyPublicDir: false,
          lib: { entry: here('./src/session-worker.ts'), formats: ['iife'], name: 'worker', fileName: () => 'session-worker.js' },
        }
      : {}),
  },
  server: { proxy: { '/api': 'http://127.0.0.1:8080', '/ws': { target: 'ws://127.0.0.1:8080', ws: true } } },
  test: { include: ['packages/*/tests/**/*.test.ts', 'src/**/*.test.ts'], environment: 'node' },
}));
