import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import rapport.client.ApiClient;
import rapport.client.ApiException;
import rapport.client.ApiResponse;
import rapport.client.api.LeadsApi;
import rapport.client.model.BatchResult;
import rapport.client.model.FieldError;
import rapport.client.model.Lead;
import rapport.client.model.LeadBatchCreate;
import rapport.client.model.LeadCreate;
import rapport.client.model.LeadPage;
import rapport.client.model.LeadUpdate;
import rapport.client.model.Problem;

/** Creates, changes and lists leads through the classes that openapi-generator generates. */
public final class Leads {
  private static final ApiClient CLIENT = new ApiClient();

  private interface Call {
    void run() throws ApiException;
  }

  private static void expect(boolean holds, Object seen) {
    if (!holds) throw new IllegalStateException("unexpected: " + seen);
  }

  /** Returns the problem document of a call that must fail with this status. */
  private static Problem problemOf(int status, Call call) throws Exception {
    try {
      call.run();
    } catch (ApiException failed) {
      expect(failed.getCode() == status, failed);
      return CLIENT.getObjectMapper().readValue(failed.getResponseBody(), Problem.class);
    }
    throw new IllegalStateException("no " + status);
  }

  public static void main(String[] arguments) throws Exception {
    CLIENT.updateBaseUri(System.getenv("RAPPORT_URL"));
    String authorization = "Bearer " + System.getenv("RAPPORT_API_KEY");
    CLIENT.setRequestInterceptor(request -> request.header("Authorization", authorization));
    LeadsApi leads = new LeadsApi(CLIENT);

    LeadCreate body = new LeadCreate().title("New office").valueMinor(1250000L).tags(List.of("vip"));
    ApiResponse<Lead> created =
        leads.createLeadWithHttpInfo(
            LeadsApi.APICreateLeadRequest.newBuilder()
                .leadCreate(body)
                .idempotencyKey(UUID.randomUUID().toString())
                .build());
    Lead lead = created.getData();
    expect(created.getStatusCode() == 201 && lead.getValueMinor() == 1250000L, lead);
    String etag = created.getHeaders().get("etag").get(0);

    LeadsApi.APIUpdateLeadRequest change =
        LeadsApi.APIUpdateLeadRequest.newBuilder()
            .id(lead.getId())
            .leadUpdate(new LeadUpdate().valueMinor(3000000000L))
            .ifMatch(etag)
            .build();
    Lead updated = leads.updateLead(change);
    expect(updated.getValueMinor() == 3000000000L, updated);
    Lead read = leads.getLead(LeadsApi.APIGetLeadRequest.newBuilder().id(lead.getId()).build());
    expect(read.getValueMinor() == 3000000000L && read.getTitle().equals("New office"), read);
    expect(read.getTags().equals(List.of("vip")), read);

    Problem stale = problemOf(412, () -> leads.updateLead(change));
    expect(stale.getCode().toString().equals("precondition_failed"), stale);

    List<LeadCreate> items = List.of(new LeadCreate().title("First"), new LeadCreate().title("Second"));
    BatchResult batch =
        leads.batchCreateLeads(
            LeadsApi.APIBatchCreateLeadsRequest.newBuilder()
                .leadBatchCreate(new LeadBatchCreate().items(items))
                .build());
    expect(batch.getResults().stream().map(item -> item.getStatus()).toList().equals(List.of(201, 201)), batch);

    LeadCreate invalid = new LeadCreate().title(" ").score(200);
    Problem wrong =
        problemOf(
            422, () -> leads.createLead(LeadsApi.APICreateLeadRequest.newBuilder().leadCreate(invalid).build()));
    List<String> pointers = wrong.getErrors().stream().map(FieldError::getPointer).toList();
    expect(wrong.getCode().toString().equals("invalid") && pointers.equals(List.of("/title", "/score")), wrong);

    Set<UUID> seen = new HashSet<>();
    int pages = 0;
    int withCompany = 0;
    String cursor = null;
    do {
      LeadPage page =
          leads.listLeads(
              LeadsApi.APIListLeadsRequest.newBuilder()
                  .include(List.of("company"))
                  .limit(50)
                  .cursor(cursor)
                  .build());
      for (Lead row : page.getData()) {
        seen.add(row.getId());
        if (row.getCompany() != null) withCompany++;
      }
      pages++;
      cursor = page.getPage().getNext();
    } while (cursor != null);
    expect(pages > 1 && withCompany > 0 && seen.contains(lead.getId()), pages + " " + withCompany);

    System.out.printf(
        "%d leads on %d pages, %d with a company; %d -> %d; 412 %s; 422 %s at %s; a batch of %d%n",
        seen.size(), pages, withCompany, lead.getValueMinor(), read.getValueMinor(), stale.getCode(),
        wrong.getCode(), String.join(" ", pointers), batch.getSucceeded());
  }

  private Leads() {}
}
