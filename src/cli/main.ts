#!/usr/bin/env node
import { processEnvironment } from './environment.js';
import { runCli } from './program.js';

// A closed pipe is noticed where the text is written.
process.stdout.on('error', () => {});
process.exitCode = await runCli(process.argv.slice(2), processEnvironment);
