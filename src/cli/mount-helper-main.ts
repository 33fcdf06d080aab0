#!/usr/bin/env node
import { runMountHelper } from './mount-helper.js';

process.exitCode = await runMountHelper(process.argv.slice(2), (text) => void process.stderr.write(text));
