// Helia over HTTP alone: finds who has a CID by one delegated router, and fetches it block by block.
//
//   helia_cat.mjs ROUTER_URL CID OUT PEER_ID
//
// It knows no bootstrap peer and no public gateway. Prints what the router said, as JSON.

import { createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { delegatedRoutingV1HttpApiClient } from '@helia/delegated-routing-v1-http-api-client'
import { withHTTP } from '@helia/http'
import { unixfs } from '@helia/unixfs'
import { peerIdFromString } from '@libp2p/peer-id'
import { defaultLogger } from '@libp2p/logger'
import { createHeliaLight } from 'helia'
import { CID } from 'multiformats/cid'

const [url, text, out, peer] = process.argv.slice(2)
const cid = CID.parse(text)

async function records (found) {
  const told = []
  for await (const record of found) {
    told.push({
      id: record.ID.toString(),
      addresses: record.Addrs.map(String),
      protocols: record.Protocols
    })
  }
  return told
}

const client = delegatedRoutingV1HttpApiClient({ url })({ logger: defaultLogger() })
const said = {
  providers: await records(client.getProviders(cid)),
  peers: await records(client.getPeers(peerIdFromString(peer))),
  filtered: await records(client.getProviders(cid, { filterProtocols: ['transport-graphsync-filecoinv1'] }))
}

const helia = await withHTTP(createHeliaLight(), {
  delegatedRouters: [url],
  recursiveGateways: [],
  allowInsecure: true,
  allowLocal: true
}).start()
await pipeline(Readable.from(unixfs(helia).cat(cid)), createWriteStream(out))
await helia.stop()
console.log(JSON.stringify(said))
