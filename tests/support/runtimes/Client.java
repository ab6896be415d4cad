import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;

/** Imports a file, then writes an export to standard output, with the default client, which offers h2c. */
public class Client {
    public static void main(String[] arguments) throws IOException, InterruptedException {
        String base = arguments[0];
        String key = arguments[1];
        HttpClient client = HttpClient.newHttpClient();
        HttpResponse<String> imported = client.send(
            request(base + "/import-sms-events", key)
                .POST(HttpRequest.BodyPublishers.ofFile(Path.of(arguments[2]))).build(),
            HttpResponse.BodyHandlers.ofString());
        System.err.println(imported.statusCode() + " " + imported.body());
        HttpResponse<byte[]> exported = client.send(
            request(base + "/export-sms-events", key).POST(HttpRequest.BodyPublishers.ofString("{}")).build(),
            HttpResponse.BodyHandlers.ofByteArray());
        System.err.println(exported.statusCode());
        System.out.write(exported.body());
        System.out.flush();
    }

    private static HttpRequest.Builder request(String address, String key) {
        return HttpRequest.newBuilder(URI.create(address)).header("X-Api-Key", key);
    }
}
