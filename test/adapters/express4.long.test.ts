import express4 from 'express4'
import { contract } from './contract.js'
import { expressOf } from './hosts/express.js'

contract(expressOf('Express 4', express4))
