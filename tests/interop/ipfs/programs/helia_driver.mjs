// Helia and js-libp2p as a program that does what it is asked: one JSON object a line in, one a
// line out; see kubo_driver.py. Runs in the folder that holds its packages. Nodes know no bootstrap
// peer and no public router or gateway, and mDNS only when asked to.

import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { withBitswap } from '@helia/bitswap'
import { withHTTP } from '@helia/http'
import { ipns, ipnsSelector, ipnsValidator } from '@helia/ipns'
import { withLibp2pLight } from '@helia/libp2p'
import { unixfs } from '@helia/unixfs'
import { CarReader, CarWriter } from '@ipld/car'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { mdns } from '@libp2p/mdns'
import { noise } from '@libp2p/noise'
import { peerIdFromString } from '@libp2p/peer-id'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { MemoryBlockstore } from 'blockstore-core'
import { createHeliaLight } from 'helia'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'

const LAN_DHT = '/ipfs/lan/kad/1.0.0'
const PATIENCE_MS = 60_000
const FILES_AT_ONCE = 100
const nodes = new Map()
const discovered = new Map()

const patience = () => AbortSignal.timeout(PATIENCE_MS)

async function open ({ node, listen, mdns: withMdns = false }) {
  const options = {
    addresses: { listen: [listen] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    peerDiscovery: withMdns ? [mdns({ interval: 500 })] : [],
    services: {
      identify: identify(),
      ping: ping(),
      dht: kadDHT({
        protocol: LAN_DHT,
        clientMode: false,
        peerInfoMapper: passthroughMapper,
        allowQueryWithZeroPeers: true,
        validators: { ipns: ipnsValidator },
        selectors: { ipns: ipnsSelector }
      })
    }
  }
  const helia = createHeliaLight({ blockstore: new MemoryBlockstore() })
  nodes.set(node, await withBitswap(withLibp2pLight(helia, options)).start())
  const { libp2p } = nodes.get(node)
  discovered.set(node, new Set())
  libp2p.addEventListener('peer:discovery', ({ detail }) => discovered.get(node).add(detail.id.toString()))
  return {
    peer_id: libp2p.peerId.toString(),
    addresses: libp2p.getMultiaddrs().map(address => address.toString())
  }
}

// A node without libp2p: blocks come over HTTP, from gateways or from whom the routers name.
async function openHttp ({ node, gateways = [], routers = [] }) {
  const helia = createHeliaLight({ blockstore: new MemoryBlockstore() })
  // Without a router besides the gateways it waits for ever for the first one.
  helia.addRouter({ name: 'nobody', async * findProviders () {} })
  nodes.set(node, await withHTTP(helia, {
    delegatedRouters: routers,
    recursiveGateways: gateways,
    allowInsecure: true,
    allowLocal: true
  }).start())
  return {}
}

async function close ({ node }) {
  await nodes.get(node).stop()
  nodes.delete(node)
}

async function connect ({ node, address }) {
  await nodes.get(node).libp2p.dial(multiaddr(address), { signal: patience() })
}

async function peers ({ node }) {
  return nodes.get(node).libp2p.getPeers().map(peer => peer.toString())
}

async function foundByMdns ({ node }) {
  return [...discovered.get(node)]
}

async function known ({ node, peer_id: peerId }) {
  const found = (await nodes.get(node).libp2p.peerStore.all()).find(peer => peer.id.toString() === peerId)
  const agent = found?.metadata.get('AgentVersion')
  return {
    agent: agent == null ? '' : new TextDecoder().decode(agent),
    protocols: found?.protocols ?? [],
    addresses: (found?.addresses ?? []).map(each => each.multiaddr.toString())
  }
}

async function pingPeer ({ node, address }) {
  const { libp2p } = nodes.get(node)
  return await libp2p.services.ping.ping(multiaddr(address), { signal: patience() })
}

// `profile` is the one of IPIP-499: how files are cut, and which CIDs they get.
async function add ({ node, path, profile = 'unixfs-v1-2025' }) {
  const old = profile === 'unixfs-v0-2015'
  const chunkSize = old ? 262_144 : 1_048_576
  const cid = await unixfs(nodes.get(node)).addByteStream(createReadStream(path), {
    chunker: fixedSize({ chunkSize }),
    layout: balanced({ maxChildrenPerNode: old ? 174 : 1024 }),
    rawLeaves: !old,
    cidVersion: old ? 0 : 1,
    reduceSingleLeafToSelf: true
  })
  return cid.toString()
}

async function get ({ node, cid, out }) {
  const bytes = unixfs(nodes.get(node)).cat(CID.parse(cid), { signal: patience() })
  await pipeline(Readable.from(bytes), createWriteStream(out))
}

// A folder of small files.
async function addFolder ({ node, path }) {
  async function * files () {
    for (const name of await readdir(path)) {
      yield { path: name, content: await readFile(join(path, name)) }
    }
  }
  let last
  for await (const entry of unixfs(nodes.get(node)).addAll(files(), { wrapWithDirectory: true })) {
    last = entry.cid
  }
  return last.toString()
}

async function getFolder ({ node, cid, out }) {
  const files = unixfs(nodes.get(node))
  await mkdir(out)
  const entries = await Array.fromAsync(files.ls(CID.parse(cid), { extended: false }))
  const write = async entry => {
    const parts = await Array.fromAsync(files.cat(entry.cid, { signal: patience() }))
    await writeFile(join(out, entry.name), Buffer.concat(parts))
  }
  while (entries.length > 0) {
    await Promise.all(entries.splice(0, FILES_AT_ONCE).map(write))
  }
}

async function provide ({ node, cid }) {
  await nodes.get(node).libp2p.contentRouting.provide(CID.parse(cid), { signal: patience() })
}

async function findProviders ({ node, cid }) {
  const found = []
  const { libp2p } = nodes.get(node)
  for await (const each of libp2p.contentRouting.findProviders(CID.parse(cid), { signal: patience() })) {
    found.push({ peer_id: each.id.toString(), addresses: each.multiaddrs.map(each => each.toString()) })
  }
  return found
}

async function findPeer ({ node, peer_id: peerId }) {
  const { libp2p } = nodes.get(node)
  const found = await libp2p.peerRouting.findPeer(peerIdFromString(peerId), { signal: patience() })
  return found.multiaddrs.map(each => each.toString())
}

async function tableSize ({ node }) {
  return nodes.get(node).libp2p.services.dht.routingTable.size
}

// Let a new name mean a CID, and return the name.
async function publish ({ node, cid }) {
  return (await ipns(nodes.get(node)).publish(`key-${cid}`, CID.parse(cid), { signal: patience() })).name
}

async function resolve ({ node, name }) {
  for await (const { value } of ipns(nodes.get(node)).resolve(name, { signal: patience(), nocache: true })) {
    return value
  }
}

// Read a CAR from a file and hash every block in it.
async function readCar ({ path }) {
  const reader = await CarReader.fromIterable(createReadStream(path))
  const blocks = []
  for await (const { cid, bytes } of reader.blocks()) {
    const digest = await sha256.digest(bytes)
    if (!Buffer.from(digest.bytes).equals(Buffer.from(cid.multihash.bytes))) {
      throw new Error(`block ${cid} has other bytes`)
    }
    blocks.push(cid.toString())
  }
  return { roots: (await reader.getRoots()).map(root => root.toString()), blocks }
}

// Write everything that a node holds into a CAR with one root.
async function writeCar ({ node, cid, path }) {
  const { writer, out } = CarWriter.create([CID.parse(cid)])
  const written = pipeline(Readable.from(out), createWriteStream(path))
  let count = 0
  for await (const { cid: each, bytes: pieces } of nodes.get(node).blockstore.getAll()) {
    const parts = []
    if (pieces instanceof Uint8Array) parts.push(pieces)
    else for await (const piece of pieces) parts.push(piece)
    await writer.put({ cid: each, bytes: new Uint8Array(Buffer.concat(parts)) })
    count += 1
  }
  await writer.close()
  await written
  return count
}

const verbs = {
  open,
  open_http: openHttp,
  close,
  connect,
  peers,
  known,
  found_by_mdns: foundByMdns,
  ping: pingPeer,
  add,
  get,
  add_folder: addFolder,
  get_folder: getFolder,
  provide,
  find_providers: findProviders,
  find_peer: findPeer,
  table_size: tableSize,
  publish,
  resolve,
  read_car: readCar,
  write_car: writeCar
}

process.on('unhandledRejection', error => console.error(error))
createInterface({ input: process.stdin }).on('line', async line => {
  const { id, verb, ...request } = JSON.parse(line)
  let answer
  try {
    answer = { id, result: (await verbs[verb](request)) ?? null }
  } catch (error) {
    answer = { id, error: `${error.name}: ${error.message}` }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}).on('close', () => process.exit(0))
