import { installIntegrations } from './steps.mjs';

const { code, output } = await installIntegrations();
if (output !== '') console.log(output.trimEnd());
process.exitCode = code;
