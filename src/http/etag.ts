import { createHash } from 'node:crypto'

/** 96 bits: enough that two bodies of one URI never share a validator by chance. */
const DIGEST_CHARS = 16

/** A weak validator made from the body: the same on a miss and on a hit, whatever the framework compresses later. */
export function makeEtag(body: Buffer): string {
  return `W/"${createHash('sha1').update(body).digest('base64url').slice(0, DIGEST_CHARS)}"`
}

const ENTITY_TAG = /^(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"$/

/** Whether a field value is an entity-tag (RFC 9110 section 8.8.3). */
export function isEtag(value: string): boolean {
  return ENTITY_TAG.test(value)
}

/** If-None-Match: `*` or a list, compared weakly (RFC 9110 sections 13.1.2 and 8.8.3.2). */
export function matchesNone(ifNoneMatch: string, etag: string | undefined): boolean {
  const value = ifNoneMatch.trim()
  if (value === '*') return true
  if (etag === undefined) return false
  const opaque = opaqueTag(etag)
  if (!value.includes(',')) return opaqueTag(value) === opaque
  return splitTags(value).some((tag) => opaqueTag(tag) === opaque)
}

function opaqueTag(etag: string): string {
  return etag.startsWith('W/') ? etag.slice(2) : etag
}

/** A comma may stand inside an entity-tag, so the list is split where a tag ends. */
function splitTags(list: string): string[] {
  return list.match(/(?:W\/)?"[^"]*"/g) ?? []
}
