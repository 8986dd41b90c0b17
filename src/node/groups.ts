import type { ServerResponse } from 'node:http'
import { addGroupsToRun } from './run-responder.js'
import { addGroupsToWrite } from './writer.js'

/** Adds groups to the entry that a response becomes, whether it answers a read or a write-through. */
export function addGroups(res: ServerResponse, names: readonly string[]): void {
  addGroupsToRun(res, names)
  addGroupsToWrite(res, names)
}
