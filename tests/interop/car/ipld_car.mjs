// Reads and writes CAR files with @ipld/car.
//
//   ipld_car.mjs read FILE                 prints { version, roots, blocks: [{ cid, size }] };
//                                          every block is hashed
//   ipld_car.mjs copy FILE OUT             writes the same roots, the blocks in reverse order

import { createReadStream, createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { CarBlockIterator, CarWriter } from '@ipld/car'
import { sha256 } from 'multiformats/hashes/sha2'

async function blocksOf (path) {
  const car = await CarBlockIterator.fromIterable(createReadStream(path))
  const blocks = []
  for await (const { cid, bytes } of car) {
    const { digest } = await sha256.digest(bytes)
    if (Buffer.compare(digest, cid.multihash.digest) !== 0) {
      throw new Error(`block ${cid} does not match`)
    }
    blocks.push({ cid, bytes })
  }
  return { version: car.version, roots: await car.getRoots(), blocks }
}

const [verb, path, output] = process.argv.slice(2)
const { version, roots, blocks } = await blocksOf(path)
if (verb === 'copy') {
  const { writer, out } = CarWriter.create(roots)
  const written = new Promise((resolve, reject) => {
    Readable.from(out).pipe(createWriteStream(output)).on('finish', resolve).on('error', reject)
  })
  for (const block of blocks.reverse()) {
    await writer.put(block)
  }
  await writer.close()
  await written
}
process.stdout.write(JSON.stringify({
  version,
  roots: roots.map(String),
  blocks: blocks.map(({ cid, bytes }) => ({ cid: cid.toString(), size: bytes.length }))
}) + '\n')
