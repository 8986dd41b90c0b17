import { subscribe } from 'node:diagnostics_channel'
import { RequestProperty } from '../request-property.js'

/** The members of Fastify that are used here. */
interface Application {
  addHook(
    name: 'onSend',
    hook: (request: unknown, reply: object, payload: unknown, done: (error: null, payload: unknown) => void) => void,
  ): unknown
}

const calls = new RequestProperty<() => void>()

/**
 * Calls this when all is made of a reply of Fastify, its serializers included, and before any hook of the application's
 * own. Not in applications that are older than this module.
 */
export function onFirstSend(reply: object, call: () => void): void {
  calls.set(reply, call)
}

// Before anybody else can add one.
subscribe('fastify.initialization', (message) => {
  const { fastify } = message as { fastify: Application }
  fastify.addHook('onSend', function redwellFirst(_, reply, payload, done) {
    calls.get(reply)?.()
    done(null, payload)
  })
})
