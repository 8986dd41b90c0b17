// origin.mjs <suite>: the suite's origin server, on a free port of 127.0.0.1, which it prints. (The suite's own start
// script listens on every address.)
import { createServer } from 'node:http'
import { pathToFileURL } from 'node:url'

const part = async (name) => (await import(new URL(`server/handle-${name}.mjs`, suite))).default
const suite = pathToFileURL(`${process.argv[2]}/`)
const handlers = { config: await part('config'), state: await part('state'), test: await part('test') }

// Of all that the handlers write, only that they could not serve a request is of interest.
console.log = (line) => /ERROR|WARNING/.test(line) && process.stderr.write(`${line}\n`)

const server = createServer((request, response) => {
  const [kind, ...segments] = new URL(request.url, 'http://origin.invalid').pathname.slice(1).split('/')
  const handle = handlers[kind]
  if (handle !== undefined) return handle(segments, request, response)
  response.writeHead(404).end()
})
server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`))
