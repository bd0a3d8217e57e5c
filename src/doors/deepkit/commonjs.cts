/** What `require` gives: the same door, on that copy of Deepkit's packages which an application in CommonJS has. */
import type * as Packages from './packages.ts' with { 'resolution-mode': 'import' };

const { useCommonJs } = require('./packages.js') as typeof Packages;

useCommonJs();
module.exports = require('./index.js');
