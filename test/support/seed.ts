import fc from 'fast-check';

/** One seed for all random tests: a run says the same twice. RMAPFS_SEED=N tries others. */
const seed = Number(process.env.RMAPFS_SEED ?? 20261121);
if (!Number.isSafeInteger(seed)) throw new Error(`RMAPFS_SEED=${process.env.RMAPFS_SEED} is no whole number`);
fc.configureGlobal({ seed });
