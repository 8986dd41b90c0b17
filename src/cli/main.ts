#!/usr/bin/env node
import { run } from './program.js'

// `redwell keys --all | head` ends the pipe before we do.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(0)
})

process.exitCode = await run(process.argv.slice(2))
