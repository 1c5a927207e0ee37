// Builds UnixFS trees with ipfs-unixfs-importer: one JSON case a line in, one line with a CID out.
//
// A case: { options, files: [{ path, seed, size }], folders: [path] }. The content of a file is
// SHAKE-128 of its seed. With one file and no path it is that file alone.

import { createHash } from 'node:crypto'
import { createInterface } from 'node:readline'
import { BlackHoleBlockstore } from 'blockstore-core/black-hole'
import { importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced, trickle } from 'ipfs-unixfs-importer/layout'

const store = new BlackHoleBlockstore()

function contentOf (file) {
  return createHash('shake128', { outputLength: file.size }).update(file.seed).digest()
}

function optionsOf (given) {
  const { chunk, links, layout, profile, ...rest } = given
  if (profile != null) {
    return { profile, ...rest }
  }
  const shape = layout === 'trickle' ? trickle : balanced
  return {
    ...rest,
    chunker: fixedSize({ chunkSize: chunk }),
    layout: shape({ maxChildrenPerNode: links })
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { options, files, folders } = JSON.parse(line)
  let answer
  try {
    const candidates = [
      ...folders.map(path => ({ path: `root/${path}` })),
      ...files.map(file => ({
        path: file.path === '' ? 'root' : `root/${file.path}`,
        content: contentOf(file)
      }))
    ]
    let last
    for await (const entry of importer(candidates, store, optionsOf(options))) {
      last = entry
    }
    answer = { cid: last.cid.toString() }
  } catch (error) {
    answer = { error: String(error) }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
