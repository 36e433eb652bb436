/** `node --import` of this: a decoder process ends at once; every other process is as it was. */
if (process.argv[1]?.endsWith("/decoder.ts") === true) process.exit(1);
