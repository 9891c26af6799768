// Command leads creates, changes and lists leads through the package that openapi-generator generates.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"time"

	"github.com/example/rapport"
)

func expect(holds bool, seen ...any) {
	if !holds {
		fmt.Fprintf(os.Stderr, "unexpected: %+v\n", seen)
		os.Exit(1)
	}
}

// problemOf returns the problem document of a call that failed.
func problemOf(err error) rapport.Problem {
	var failed *rapport.GenericOpenAPIError
	expect(errors.As(err, &failed), err)
	problem, is := failed.Model().(rapport.Problem)
	expect(is, err, string(failed.Body()))
	return problem
}

func main() {
	configuration := rapport.NewConfiguration()
	configuration.Servers = rapport.ServerConfigurations{{URL: os.Getenv("RAPPORT_URL")}}
	configuration.HTTPClient = &http.Client{Timeout: 10 * time.Second}
	leads := rapport.NewAPIClient(configuration).LeadsAPI
	ctx := context.WithValue(context.Background(), rapport.ContextAccessToken, os.Getenv("RAPPORT_API_KEY"))

	body := rapport.NewLeadCreate("New office")
	body.SetValueMinor(1250000)
	body.SetTags([]string{"vip"})
	key := fmt.Sprint("go-", time.Now().UnixNano())
	lead, response, err := leads.CreateLead(ctx).IdempotencyKey(key).LeadCreate(*body).Execute()
	expect(err == nil && response.StatusCode == 201 && lead.GetValueMinor() == 1250000, err, lead)
	etag := response.Header.Get("ETag")

	change := rapport.NewLeadUpdate()
	change.SetValueMinor(3000000000)
	updated, _, err := leads.UpdateLead(ctx, lead.Id).IfMatch(etag).LeadUpdate(*change).Execute()
	expect(err == nil && updated.GetValueMinor() == 3000000000, err, updated)
	read, _, err := leads.GetLead(ctx, lead.Id).Execute()
	expect(err == nil && read.GetValueMinor() == 3000000000 && read.Title == "New office", err, read)
	expect(reflect.DeepEqual(read.Tags, []string{"vip"}), read)

	_, response, err = leads.UpdateLead(ctx, lead.Id).IfMatch(etag).LeadUpdate(*change).Execute()
	stale := problemOf(err)
	expect(response.StatusCode == 412 && stale.Code == "precondition_failed", stale)

	items := []rapport.LeadCreate{*rapport.NewLeadCreate("First"), *rapport.NewLeadCreate("Second")}
	batch, _, err := leads.BatchCreateLeads(ctx).LeadBatchCreate(*rapport.NewLeadBatchCreate(items)).Execute()
	expect(err == nil && len(batch.Results) == 2, err, batch)
	expect(batch.Results[0].Status == 201 && batch.Results[1].Status == 201, batch)

	body = rapport.NewLeadCreate(" ")
	body.SetScore(200)
	_, response, err = leads.CreateLead(ctx).LeadCreate(*body).Execute()
	wrong := problemOf(err)
	expect(response.StatusCode == 422 && wrong.Code == "invalid" && len(wrong.Errors) == 2, wrong)
	expect(wrong.Errors[0].Pointer == "/title" && wrong.Errors[1].Pointer == "/score", wrong)

	seen := map[string]bool{}
	pages, withCompany := 0, 0
	list := leads.ListLeads(ctx).Include([]string{"company"}).Limit(50)
	for more := true; more; {
		page, _, err := list.Execute()
		expect(err == nil, err)
		for _, row := range page.Data {
			seen[row.Id] = true
			if row.Company.Get() != nil {
				withCompany++
			}
		}
		pages++
		next := page.Page.Next.Get()
		if more = next != nil; more {
			list = list.Cursor(*next)
		}
	}
	expect(pages > 1 && withCompany > 0 && seen[lead.Id], pages, withCompany)

	fmt.Printf("%d leads on %d pages, %d with a company; %d -> %d; 412 %s; 422 %s at %s %s; a batch of %d\n",
		len(seen), pages, withCompany, lead.GetValueMinor(), read.GetValueMinor(), stale.Code,
		wrong.Code, wrong.Errors[0].Pointer, wrong.Errors[1].Pointer, batch.Succeeded)
}
