import { expect, test } from 'vitest'
import { refreshRequest, respond } from '../../src/adapters/node/request.js'

const asked = { target: '/a', origin: 'https://shop.example', header: () => undefined }

test('a handler that answers a refresh in several pieces of one turn ends no process', async () => {
  const message = refreshRequest(asked, [])
  const failures: unknown[] = []
  message.socket.prependListener('error', (error) => failures.push(error))
  await respond((_, response) => {
    response.write('head')
    setImmediate(() => {
      for (const piece of ['one', 'two', 'three']) response.write(piece)
      setImmediate(() => response.end())
    })
  }, message)
  expect(failures).toEqual([])
})

test('it has the scheme and the host of the request, and an address that is not local', () => {
  const { headers, socket } = refreshRequest(asked, [])
  expect([headers.host, socket.remoteAddress, 'encrypted' in socket && socket.encrypted]).toEqual([
    'shop.example',
    '192.0.2.1',
    true,
  ])
})
