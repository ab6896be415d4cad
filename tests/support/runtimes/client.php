<?php
// Imports a file, then writes an export to standard output, with PHP's stream wrapper; argument 4 is the version of HTTP.
[, $base, $key, $file, $version] = $argv;

function ask(string $address, string $key, string $version, string $body): string
{
    $http = ['method' => 'POST', 'header' => "X-Api-Key: $key\r\n", 'content' => $body];
    $http += ['protocol_version' => (float) $version, 'ignore_errors' => true];
    $received = file_get_contents($address, false, stream_context_create(['http' => $http]));
    fwrite(STDERR, $http_response_header[0] . "\n");
    return $received;
}

fwrite(STDERR, ask("$base/import-sms-events", $key, $version, file_get_contents($file)) . "\n");
echo ask("$base/export-sms-events", $key, $version, '{}');
