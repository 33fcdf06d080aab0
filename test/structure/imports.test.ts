import { describe, expect, it } from 'vitest';
import { forbiddenImports, importCycles, importsOf, layerCycles, unknownFiles } from './layers.js';
import { readSources, type Source } from './source.js';

const sample = (path: string, ...imports: string[]): Source => ({
  path,
  text: imports.map((file) => `import { x } from '${file}';`).join('\n'),
});

describe('the direction of imports', () => {
  const sources = readSources(['src'], ['.ts']);

  it('finds the sources', () => {
    expect(sources.length).toBeGreaterThan(5);
    expect(sources.flatMap(importsOf).length).toBeGreaterThan(sources.length);
  });

  it('has every file in a known layer', () => expect(unknownFiles(sources)).toEqual([]));
  it('goes downward only', () => expect(forbiddenImports(sources)).toEqual([]));

  it('has no cycle', () => expect(importCycles(sources)).toEqual([]));
  it('has layers without a cycle', () => expect(layerCycles()).toEqual([]));
});

describe('the checks notice', () => {
  it('an import that goes up', () => {
    const bad = sample('src/engine/a.ts', '../vfs/b.js', '../media/c.js', '../types.js');
    expect(forbiddenImports([bad])).toEqual([
      'engine must not import vfs: src/engine/a.ts imports src/vfs/b.ts',
    ]);
  });

  it('re-exports, type imports and import() of a layer above', () => {
    const text = `
      export { x } from '../vfs/a.js';
      import type { Y } from '../vfs/b.js';
      const z = await import('../vfs/c.js');`;
    expect(forbiddenImports([{ path: 'src/media/m.ts', text }])).toHaveLength(3);
  });

  it('the native addon from a layer that must not know it', () => {
    expect(forbiddenImports([sample('src/engine/a.ts', '../native.js')])).toHaveLength(1);
    expect(forbiddenImports([sample('src/media/a.ts', '../native.js')])).toEqual([]);
  });

  it('a common file that imports a layer, and an import from outside src', () => {
    expect(forbiddenImports([sample('src/types.ts', './engine/a.js')])).toHaveLength(1);
    expect(forbiddenImports([sample('src/cli/a.ts', '../../test/b.js')])).toHaveLength(1);
  });

  it('layers that may import each other', () => {
    expect(layerCycles({ vfs: ['failure'], failure: ['control', 'vfs'], control: [] })).toEqual([
      'vfs -> failure -> vfs',
    ]);
  });

  it('a file outside the layers', () => {
    expect(
      unknownFiles([sample('src/helpers.ts'), sample('src/misc/a.ts'), sample('src/media/a.ts')]),
    ).toEqual([
      'src/helpers.ts belongs to no layer of test/structure/layers.ts',
      'src/misc/a.ts belongs to no layer of test/structure/layers.ts',
    ]);
  });

  it('a cycle', () => {
    const files = [
      sample('src/engine/a.ts', './b.js'),
      sample('src/engine/b.ts', './c.js'),
      sample('src/engine/c.ts', './a.js'),
      sample('src/engine/d.ts', './a.js'),
    ];
    expect(importCycles(files)).toEqual([
      'src/engine/a.ts -> src/engine/b.ts -> src/engine/c.ts -> src/engine/a.ts',
    ]);
    const types = { path: 'src/engine/b.ts', text: "import type { x } from './a.js';" };
    expect(importCycles([sample('src/engine/a.ts', './b.js'), types])).toEqual([]);
  });
});
