// Helia as a program: share a file, or fetch by bitswap on request (see ask.py).
// Runs in the folder that holds its packages. It knows no bootstrap peer and no router.
//
//   helia_peer.mjs seed STORE HOST PORT PATH
//   helia_peer.mjs taker STORE HOST PORT SOCKET SEED_ADDRESS      asked: CID OUT

import { createReadStream, createWriteStream } from 'node:fs'
import { createServer } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { FsBlockstore } from 'blockstore-fs'
import { createHeliaLight } from 'helia'
import { withBitswap } from '@helia/bitswap'
import { withLibp2pLight } from '@helia/libp2p'
import { unixfs } from '@helia/unixfs'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { CID } from 'multiformats/cid'

const BLOCK_BYTES = 1 << 20
const SEPARATOR = '\x1f'

async function openNode (store, host, port) {
  const blockstore = new FsBlockstore(store)
  await blockstore.open()
  return await withBitswap(withLibp2pLight(createHeliaLight({ blockstore }), {
    addresses: { listen: [`/ip4/${host}/tcp/${port}`] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify() }
  })).start()
}

function sayReady (facts) {
  console.log(JSON.stringify(facts))
}

async function seed (node, path) {
  const cid = await unixfs(node).addByteStream(createReadStream(path, { highWaterMark: BLOCK_BYTES }), {
    chunker: fixedSize({ chunkSize: BLOCK_BYTES })
  })
  sayReady({ cid: cid.toString(), address: node.libp2p.getMultiaddrs()[0].toString() })
}

async function taker (node, socket, seedAddress) {
  await node.libp2p.dial(multiaddr(seedAddress))
  const server = createServer(stream => {
    let asked = ''
    stream.setEncoding('utf8')
    stream.on('data', async data => {
      asked += data
      if (!asked.endsWith('\n')) return
      const [cid, out] = asked.trimEnd().split(SEPARATOR)
      try {
        await pipeline(Readable.from(unixfs(node).cat(CID.parse(cid))), createWriteStream(out))
        stream.end('ok\n')
      } catch (error) {
        stream.end(`${error.name}: ${error.message}\n`)
      }
    })
  })
  server.listen(socket, () => sayReady({}))
}

const [verb, store, host, port, ...rest] = process.argv.slice(2)
const node = await openNode(store, host, port)
if (verb === 'seed') {
  await seed(node, ...rest)
} else {
  await taker(node, ...rest)
}
